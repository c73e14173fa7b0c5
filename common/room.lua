-- What the scripts share: a request's state, and its place among those that wait. Stands before each of them, behind
-- shared.lua; append.lua builds it only where a request ends.
--
-- The state of a request is a hash:
--   id, inboxes (channels, with spaces between), listeners, at:<channel> (how many of them there), listener:<name> (his channel),
--     background ("1": nobody needs to listen), named ("1": its caller has a word for it, and may come back)
--   request (encoded, in which version), kind, model, pin, lane, key, class, cost (about how many tokens), tag (its place in its class)
--   admitted, expires (ms of Redis's own clock), lifetime (ms)
--   attempt (number of the only writer allowed), free ("1": given back), done (how it ended)
--   lost (workers), blamed (for so many of them), from (tokens there were when it was taken), unbegun ("1": not yet computed),
--     killed ("1": its last worker was killed from outside)
--   prompt, cached, generated (tokens that were counted so far)
--   trace (its traceparent, where somebody collects spans), taken (when that was last, ms)
--   worker (who took it last), lost_workers (their names, a line each)
--
-- A lane's room is a sorted set of the requests that wait: by class, and within one by tag. Tags are start tags of start-time
-- fair queueing (Goyal, Vin, Cheng 1996) over tokens: a key's next request starts where its last one ends, or at the
-- present virtual time, which is the tag of what was taken last. So keys that wait get equal shares of tokens,
-- whoever asks for more only waits behind himself, and requests of one key stay in their order.

local RANK = {interactive = 0, normal = 1, batch = 2}
-- Tags of one class stay below this; a score is exact to 1/64 of a token then.
local CLASS = 2 ^ 45
-- Whose turn it was does not matter after a day, ms.
local FORGOTTEN = 86400000

local MINUTE, DAY = 60000, 86400000

-- In place of a worker's life, once that was seen to end and has been counted.
local BURIED = 'buried'

local FIELDS = {'id', 'inboxes', 'background', 'named', 'kind', 'model', 'pin', 'lane', 'key', 'class', 'cost', 'tag', 'admitted',
                'expires', 'lifetime', 'version', 'attempt', 'free', 'lost', 'blamed', 'from', 'unbegun', 'killed', 'done', 'prompt',
                'cached', 'generated', 'worker', 'lost_workers'}

-- nil when nothing is known of the request (any more).
local function read(key)
  local found, state = redis.call('HMGET', key, unpack(FIELDS)), {}
  for at, field in ipairs(FIELDS) do state[field] = found[at] or nil end
  if not state.id then return nil end
  state.at = key
  return state
end

local function count(field, more)
  if redis.call('HINCRBY', WAITING, field, more) <= 0 then redis.call('HDEL', WAITING, field) end
end

-- Those that wait, for whoever asks how many and since when: by flavour, class and model, each by when it was admitted.
local function queue_of(state)
  return table.concat({string.match(state.lane, '[^.]*$'), state.class, state.model}, '\t')
end

local function counted(state, more)
  count('all', more)
  local pin, key = 'pin:' .. state.pin, 'key:' .. (state.key or '')
  count(pin, more)
  if key ~= 'key:' then
    count(key, more)
    count(pin .. '\t' .. key, more)
  end
  local queue = queue_of(state)
  if more > 0 then
    redis.call('ZADD', QUEUE .. queue, state.admitted, state.id)
    redis.call('SADD', QUEUES, queue)
  else
    redis.call('ZREM', QUEUE .. queue, state.id)
  end
end

-- Where the next request of each key starts; who is not there starts at the present time.
local function turns_of(lane, class) return ROOM .. lane .. ':turns:' .. class end

-- The virtual time of a lane's class.
local function present(lane, class) return tonumber(redis.call('HGET', ROOM .. lane .. ':times', class) or 0) end

-- How long a lane takes from one request to the next while somebody waits there, ms; nil where that is not known. A silence
-- longer than usual is one more, as long as it has lasted: slots that were filled at once are not filled again for a while.
local function pace_of(lane, now)
  local found = redis.call('HMGET', ROOM .. lane .. ':times', 'gap', 'gaps', 'taken')
  if not found[1] then return nil end
  local gap, gaps, silence = tonumber(found[1]), tonumber(found[2]), found[3] and now - found[3] or 0
  return silence > gap and (gap * gaps + silence) / (gaps + 1) or gap
end

local function score_of(class, tag) return RANK[class] * CLASS + tag end

-- Into the room of its lane. Workers whose places are all taken hear of it: somebody there may deserve his place less.
local function enter(state)
  local score = score_of(state.class, tonumber(state.tag))
  if redis.call('ZADD', ROOM .. state.lane, score, state.id) == 1 then counted(state, 1) end
  redis.call('PERSIST', state.at)
  redis.call('PUBLISH', ARRIVALS, table.concat({state.id, state.lane, state.key, state.class}, '\t'))
end

-- Whether it had waited.
local function leave(state)
  local waited = redis.call('ZREM', ROOM .. state.lane, state.id) == 1
  if waited then counted(state, -1) end
  return waited
end

local function publish(state, index, payload)
  for inbox in string.gmatch(state.inboxes or '', '%S+') do
    redis.call('PUBLISH', inbox, state.id .. ' ' .. index .. ' ' .. payload)
  end
end

-- Where the tokens of a day are counted, by API key; see keys.py.
local function spent_on(now) return SPENT .. math.floor(now / DAY) end

-- How long somebody waited, into a histogram of Prometheus's: WAIT_BOUNDS are its buckets, as metrics.py writes them.
local function tally_wait(model, label, waited)
  local field, place = 'queue_wait\t' .. model .. '\t' .. label .. '\t', '+Inf'
  for _, bound in ipairs(WAIT_BOUNDS) do
    if waited <= tonumber(bound) then
      place = bound
      break
    end
  end
  redis.call('HINCRBY', COUNTS, field .. place, 1)
  redis.call('HINCRBYFLOAT', COUNTS, field .. 'sum', waited)
end

-- How far it had come.
local function stage_of(state)
  if tonumber(state.attempt) == 0 then return 'queued' end
  return tonumber(state.generated or 0) == 0 and 'prefill' or 'decode'
end

-- It has ended: out of all books but the ledger (ledger.py). `kept` is how long it can still be read, ms.
local function over(state, outcome, kept)
  leave(state)
  redis.call('SREM', RUNNING .. state.pin, state.id)
  redis.call('HSET', state.at, 'done', outcome)
  redis.call('HDEL', state.at, 'request')
  redis.call('PEXPIRE', state.at, kept)
  redis.call('PEXPIRE', key_of(state.id, 'journal'), kept)
  if state.kind == '' then return end
  local prompt, generated = tonumber(state.prompt or 0), tonumber(state.generated or 0)
  redis.call('XADD', LEDGER, 'MAXLEN', '~', LEDGER_ROWS, '*', 'request', state.id, 'kind', state.kind, 'model', state.model,
             'key', state.key, 'class', state.class, 'outcome', outcome, 'prompt', prompt, 'cached', state.cached or 0,
             'generated', generated, 'attempts', state.attempt, 'lost', state.lost or 0, 'ms', milliseconds() - state.admitted,
             'worker', state.worker or '')
  if string.sub(state.key, 1, #KEY_ID) == KEY_ID then
    local spent = spent_on(milliseconds())
    redis.call('HINCRBY', spent, state.key, prompt + generated)
    redis.call('PEXPIRE', spent, 2 * DAY)
  end
  tally('requests', state.model, outcome, 1)
  if outcome == 'cancelled' then tally('cancels', state.model, stage_of(state), 1) end
  tally('prompt_tokens', state.model, '', prompt)
  tally('cached_tokens', state.model, '', state.cached or 0)
  -- What it took is known now: the key's next request starts behind that.
  local turns, now = turns_of(state.lane, state.class), present(state.lane, state.class)
  local finish = math.max(tonumber(redis.call('ZSCORE', turns, state.key) or 0), now) + prompt + generated - state.cost
  if finish > now then redis.call('ZADD', turns, finish, state.key) else redis.call('ZREM', turns, state.key) end
  -- Whoever was alone in there had been forgotten when his turn came.
  redis.call('PEXPIRE', turns, FORGOTTEN)
end

-- Ends it from outside its worker, whom the attempt's number fences. Answers the index of the last event.
local function conclude(state, payload, outcome, kept)
  redis.call('HINCRBY', state.at, 'attempt', 1)
  local journal = key_of(state.id, 'journal')
  local index = next_index(journal)
  redis.call('XADD', journal, (index + 1) .. '-0', 'e', payload)
  redis.call('DEL', key_of(state.id, 'lease'))
  over(state, outcome, kept)
  publish(state, index, payload)
  return index
end
