-- The hand-over of one engine step: journal first, then one message per API inbox. All or nothing, in one call.
--
-- KEYS  state and journal of each request in turn: state 1, journal 1, state 2, journal 2, ...
-- ARGV  [1] how long an ended request is kept, ms
--       then per event: [+1] number of its request (1-based), [+2] the writer's attempt, [+3] event index,
--       [+4] "1" if it ends the request, [+5] payload
--
-- An event is refused when its writer's attempt is not the current one, when the request has ended, or when the journal
-- already holds another event at its index (Redis itself refuses an id that is not greater than the last). Asking twice
-- with the same events is harmless.
--
-- Returns {refused, inboxes}: refused = request numbers whose writer must stop, inboxes = inbox, subscribers reached, ...
-- A message is lines of "request index payload".

local journal_ms = tonumber(ARGV[1])
local states, refused, inboxes, lines = {}, {}, {}, {}

local function state_of(number)
  local state = states[number]
  if not state then
    local found = redis.call('HMGET', KEYS[2 * number - 1], 'attempt', 'inbox', 'done', 'id')
    state = {attempt = found[1], inbox = found[2], done = found[3], id = found[4], refused = false}
    states[number] = state
  end
  return state
end

local function refuse(number, state)
  if not state.refused then
    state.refused = true
    refused[#refused + 1] = number
  end
end

-- A writer whose connection broke asks again: what stands in the journal already, word for word, was accepted.
local function stands(journal, id, payload)
  local found = redis.call('XRANGE', journal, id, id)
  return found[1] and found[1][2][2] == payload
end

for at = 2, #ARGV, 5 do
  local number, attempt, index, ends, payload = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local state, journal = state_of(number), KEYS[2 * number]
  local id = (tonumber(index) + 1) .. '-0'
  if state.refused or state.attempt ~= attempt then
    refuse(number, state)
  else
    local added = not state.done and redis.pcall('XADD', journal, id, 'e', payload)
    if (not added or added.err) and not stands(journal, id, payload) then
      refuse(number, state)
    else
      if ends == '1' then
        state.done = '1'
        redis.call('HSET', KEYS[2 * number - 1], 'done', '1')
        redis.call('PEXPIRE', KEYS[2 * number - 1], journal_ms)
        redis.call('PEXPIRE', journal, journal_ms)
      elseif index == '0' then
        redis.call('PEXPIRE', journal, redis.call('PTTL', KEYS[2 * number - 1]))
      end
      if state.inbox then
        local message = lines[state.inbox]
        if not message then
          message = {}
          lines[state.inbox] = message
          inboxes[#inboxes + 1] = state.inbox
        end
        message[#message + 1] = state.id .. ' ' .. index .. ' ' .. payload
      end
    end
  end
end

local reached = {}
for _, inbox in ipairs(inboxes) do
  reached[#reached + 1] = inbox
  reached[#reached + 1] = redis.call('PUBLISH', inbox, table.concat(lines[inbox], '\n'))
end
return {refused, reached}
