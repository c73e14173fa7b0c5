-- The hand-over of one engine step: journal first, then one message per API inbox. All or nothing, in one call.
--
-- KEYS  state and journal of each request in turn: state 1, journal 1, state 2, journal 2, ...
-- ARGV  [1] how long an ended request is kept, ms
--       then per request: the writer's attempt, how many tokens its prompts have
--       then per event: [+1] number of its request (1-based), [+2] event index, [+3] how it ends the request, "" if it does
--       not, [+4] generated tokens in it, [+5] prompt tokens that were there already, [+6] payload
--
-- An event is refused when its writer's attempt is not the current one, when the request has ended, or when it is not the
-- next one: the journal already holds another event at its index, or has lost the one before it. Asking twice with the same
-- events is harmless.
--
-- A request may be there twice, with two attempts. Returns {refused, unheard}: numbers of requests whose writer must stop,
-- and of those that nobody listens to though somebody should. A message is lines of "request index payload".

local kept, requests = ARGV[1], #KEYS / 2
local states, refused, unheard, inboxes, lines, tokens_of = {}, {}, {}, {}, {}, {}

for number = 1, requests do
  local found = redis.call('HMGET', KEYS[2 * number - 1], 'attempt', 'inboxes', 'done', 'id', 'background', 'prompt',
                           'model')
  states[number] = {attempt = found[1], inboxes = found[2] or '', done = found[3], id = found[4], background = found[5],
                    model = found[7], tokens = 0, cached = 0, said = false}
  local prompt = ARGV[2 * number + 1]
  if found[1] == ARGV[2 * number] then
    if not found[3] and tonumber(prompt) > tonumber(found[6] or 0) then redis.call('HSET', KEYS[2 * number - 1], 'prompt', prompt) end
  else
    states[number].refused = true
    refused[#refused + 1] = number
  end
end

-- Whether the event is the next one of its journal, where it stands then.
local function added(state, journal, index, id, payload)
  if not state.next then
    -- As many as there should be, and Redis refuses an id that is not the last: so it is the next one, and nothing is
    -- missing. Where that is not so, what stands there is read.
    if redis.call('XLEN', journal) == index and not redis.pcall('XADD', journal, id, 'e', payload).err then
      state.next = index + 1
      return true
    end
    state.next = next_index(journal)
  end
  if state.next ~= index then return false end
  redis.call('XADD', journal, id, 'e', payload)
  state.next = index + 1
  return true
end

-- A writer whose connection broke asks again: what stands in the journal already, word for word, was accepted.
local function stands(journal, id, payload)
  local found = redis.call('XRANGE', journal, id, id)
  return found[1] and found[1][2][2] == payload
end

local function count_tokens(number, state)
  if state.tokens > 0 then redis.call('HINCRBY', KEYS[2 * number - 1], 'generated', state.tokens) end
  if state.cached > 0 then redis.call('HINCRBY', KEYS[2 * number - 1], 'cached', state.cached) end
  if state.tokens > 0 then tokens_of[state.model] = (tokens_of[state.model] or 0) + state.tokens end
  state.tokens, state.cached = 0, 0
end

local function say(state, index, payload)
  state.said = true
  for inbox in string.gmatch(state.inboxes, '%S+') do
    local message = lines[inbox]
    if not message then
      message = {}
      lines[inbox] = message
      inboxes[#inboxes + 1] = inbox
    end
    message[#message + 1] = state.id .. ' ' .. index .. ' ' .. payload
  end
end

for at = 2 * requests + 2, #ARGV, 6 do
  local number, index, ends, payload = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 5]
  local state, journal = states[number], KEYS[2 * number]
  local id = (tonumber(index) + 1) .. '-0'
  if not state.refused then
    if not state.done and added(state, journal, tonumber(index), id, payload) then
      state.tokens, state.cached = state.tokens + ARGV[at + 3], state.cached + ARGV[at + 4]
      if ends ~= '' then
        state.done = ends
        count_tokens(number, state)
        local read, over = room()
        over(read(KEYS[2 * number - 1]), ends, kept)
      elseif index == '0' then
        -- None while it waits: its lease had run out, it was put back, and its writer still lives. Less than none is now.
        local left = redis.call('PTTL', KEYS[2 * number - 1])
        if left > 0 then redis.call('PEXPIRE', journal, left) end
      end
      say(state, index, payload)
    elseif stands(journal, id, payload) then
      say(state, index, payload)
    else
      state.refused = true
      refused[#refused + 1] = number
    end
  end
end

local reached = {}
for _, inbox in ipairs(inboxes) do reached[inbox] = redis.call('PUBLISH', inbox, table.concat(lines[inbox], '\n')) > 0 end
for number, state in ipairs(states) do
  count_tokens(number, state)
  local heard = state.background == '1'
  for inbox in string.gmatch(state.inboxes, '%S+') do heard = heard or reached[inbox] end
  if state.said and not heard then unheard[#unheard + 1] = number end
end
for model, tokens in pairs(tokens_of) do tally('generated_tokens', model, '', tokens) end
return {refused, unheard}
