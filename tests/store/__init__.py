"""Every verb of the store on real servers: one file per Lua script."""
