-- Lets a request wait, unless too many do: the bounds are checked where the queue is, so that no two callers share the last
-- place. Its ticket follows through Celery.
--
-- KEYS  state; record of the caller's word for the request ("" where he has none); what it was asked with
-- ARGV  [1] id, [2] inbox channel ("" where nobody listens), [3] the encoded request, [4] kind, [5] model, [6] pin,
--       [7] lane, [8] key, [9] class, [10] cost, [11] deadline in ms, [12] lifetime in ms,
--       [13] bound in all, [14] bound of a model, [15] bound of a key, [16] digest of what is asked for, [17] version of the encoding,
--       [18] what it was asked with, "" where nobody will tell its answer again, [19] the first listener; see join.lua,
--       [20] requests of the key that may be admitted within a minute, [21] tokens it may have taken today; 0: any number,
--       [22] the traceparent of its trace, "" where it has none
--
-- Returns {outcome, number, id, about how long it would wait in ms or -1 where that is not known}; outcome is
--   admitted  number: how many go before it
--   all, model, key  too many wait (in all, for the model, of the key); number: how many
--   model_share, all_share  the key has its share of these places: those that are left are for others; number: how many it has
--   late      those who go before it take longer than its deadline; number: how many
--   requests, tokens  the key's limits are reached; number: the limit, and instead of how long it would wait when the next
--             one may be admitted
--   joined    the very same was asked for before; id: of that request
--   conflict  something else was asked for by the same word
-- Whoever asks again, because he has not heard the answer, is told that it was admitted.

-- A key may have so many places for each one that it leaves free: alone it has three quarters of them, two have three
-- sevenths each, and a key that has none finds one however many ask for more. (Dynamic thresholds; Choudhury, Hahne 1998.)
local FOR_EACH_FREE = 3

-- What came of it, counted where it is decided.
local function answer(outcome, number, id, wait)
  if ARGV[4] ~= '' then tally('admissions', ARGV[5], outcome, 1) end
  return {outcome, number, id, wait}
end

local known = redis.call('HGET', KEYS[1], 'lane')
if known then return {'admitted', redis.call('ZRANK', ROOM .. known, ARGV[1]) or 0, ARGV[1], -1} end

local inbox, digest = ARGV[2], ARGV[16]
if digest ~= '' then
  local before = redis.call('HMGET', KEYS[2], 'id', 'digest')
  local state = before[1] and read(key_of(before[1], 'state'))
  -- What has failed or was cancelled is worth another try.
  local usable = state and (not state.done or state.done == 'completed') and
    redis.call('EXISTS', key_of(state.id, 'cancel')) == 0
  if usable then return answer(before[2] == digest and 'joined' or 'conflict', 0, before[1], -1) end
end

local now, lane, class, cost = milliseconds(), ARGV[7], ARGV[9], tonumber(ARGV[10])
local turns = turns_of(lane, class)
local tag = math.max(present(lane, class), tonumber(redis.call('ZSCORE', turns, ARGV[8]) or 0))

-- Among those of the same score ids decide, and so half of them go before it.
local room, score = ROOM .. lane, score_of(class, tag)
local before = redis.call('ZCOUNT', room, '-inf', '(' .. string.format('%.17g', score)) +
  math.floor(redis.call('ZCOUNT', room, score, score) / 2)
local pace = pace_of(lane, now)
local wait = pace and math.floor(before * pace) or -1

-- Which bound it meets, and how many wait there; nil where it may wait. Whoever names no key is bounded with all others
-- only: he may be anybody.
local function met()
  local pin, key = 'pin:' .. ARGV[6], 'key:' .. ARGV[8]
  local found = redis.call('HMGET', WAITING, pin, 'all', key, pin .. '\t' .. key)
  for at = 1, 4 do found[at] = tonumber(found[at] or 0) end
  local for_model, in_all, of_key, of_key_for_model = unpack(found)
  local free, free_in_all = ARGV[14] - for_model, ARGV[13] - in_all
  if free <= 0 then return 'model', for_model end
  if ARGV[8] ~= '' then
    if of_key >= tonumber(ARGV[15]) then return 'key', of_key end
    if of_key_for_model > FOR_EACH_FREE * (free - 1) then return 'model_share', of_key_for_model end
    if free_in_all > 0 and of_key > FOR_EACH_FREE * (free_in_all - 1) then return 'all_share', of_key end
  end
  if free_in_all <= 0 then return 'all', in_all end
end

-- The times of the last so many that were admitted: it is the oldest of them that has to be a minute ago.
local asked, each_minute, each_day = ASKED .. ARGV[8], tonumber(ARGV[20]), tonumber(ARGV[21])
if each_minute > 0 then
  local oldest = redis.call('LINDEX', asked, each_minute - 1)
  if oldest and now - oldest < MINUTE then return answer('requests', each_minute, '', oldest + MINUTE - now) end
end
if each_day > 0 and tonumber(redis.call('HGET', spent_on(now), ARGV[8]) or 0) >= each_day then
  return answer('tokens', each_day, '', DAY - now % DAY)
end

local bound, waiting = met()
if bound then return answer(bound, waiting, '', wait) end
if wait > tonumber(ARGV[11]) then return answer('late', before, '', wait) end

if each_minute > 0 then
  redis.call('LPUSH', asked, now)
  redis.call('LTRIM', asked, 0, each_minute - 1)
  redis.call('PEXPIRE', asked, MINUTE)
end
redis.call('ZADD', turns, tag + cost, ARGV[8])
redis.call('PEXPIRE', turns, FORGOTTEN)
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'inboxes', inbox, 'listeners', inbox == '' and 0 or 1,
           'background', inbox == '' and 1 or 0, 'request', ARGV[3], 'kind', ARGV[4], 'model', ARGV[5], 'pin', ARGV[6],
           'lane', lane, 'key', ARGV[8], 'class', class, 'cost', cost, 'tag', tag, 'admitted', now,
           'expires', now + ARGV[11], 'lifetime', ARGV[12], 'version', ARGV[17], 'attempt', 0,
           'named', digest == '' and 0 or 1)
if ARGV[22] ~= '' then redis.call('HSET', KEYS[1], 'trace', ARGV[22]) end
if inbox ~= '' then redis.call('HSET', KEYS[1], 'at:' .. inbox, 1, 'listener:' .. ARGV[19], inbox) end
if ARGV[18] ~= '' then redis.call('SET', KEYS[3], ARGV[18], 'PX', ARGV[12]) end
enter(read(KEYS[1]))
if digest ~= '' then
  redis.call('HSET', KEYS[2], 'id', ARGV[1], 'digest', digest)
  redis.call('PEXPIRE', KEYS[2], ARGV[12])
end
return answer('admitted', redis.call('ZRANK', room, ARGV[1]), ARGV[1], wait)
