"""The checker: reads what a run left behind and says what was promised and not kept.

Everything it knows comes from four sources: the audit stream, which orders all transitions without
a clock; the history files of the processes; a dump of the key space at the end; and the answers
of the scripts, counted inside them.
"""

from .evidence import Evidence
from .verdict import Verdict, Violation, check

__all__ = ["Evidence", "Verdict", "Violation", "check"]
