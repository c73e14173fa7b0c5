-- Ends a request from outside its worker: fences whoever still writes, journals the last event, tells the inboxes.
--
-- KEYS  state
-- ARGV  [1] payload of the last event, [2] how it ends, [3] how long an ended request is kept, ms,
--       [4] the attempt the caller saw, or ""
--
-- Returns the index the event got, or -1 when the request had ended, or somebody has taken it since.

local state = read(KEYS[1])
if not state or state.done then return -1 end
if ARGV[4] ~= '' and ARGV[4] ~= state.attempt then return -1 end
return conclude(state, ARGV[1], ARGV[2], ARGV[3])
