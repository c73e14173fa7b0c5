-- A worker is about to give up a request that nobody has listened to for long: unless somebody has come just now. Whoever
-- comes from now on with its caller's word for it finds that it is to be run anew.
--
-- KEYS  state, cancel
-- ARGV  how long that is remembered, ms
--
-- Returns whether (1) it is to be given up.

local state = read(KEYS[1])
for inbox in string.gmatch(state and state.inboxes or '', '%S+') do
  if redis.call('PUBSUB', 'NUMSUB', inbox)[2] > 0 then return 0 end
end
if state and state.named == '1' and not state.done then redis.call('SET', KEYS[2], '1', 'PX', ARGV[1]) end
return 1
