-- Whether the run that token names owns the record: the guard of every script an owner calls.
-- Takes the record's state, run and done_run as read_record gives them, and the mark this script
-- leaves in done_run, by which it knows its own repeat.
-- Returns 1 yes, 2 this very call was carried out before, 0 no such task, -1 not RUNNING,
-- -2 another run owns it.
local function check_token(state, run, done_run, token, mark)
  if run == token then
    if state == 'RUNNING' then return 1 end
    return -1
  end
  if done_run == mark then return 2 end
  if run then return -2 end
  if state then return -1 end
  return 0
end
