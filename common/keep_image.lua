-- Keeps an image for a while, unless all of them would take too much.
--
-- KEYS  the image; sorted set of all digests by when they expire; hash of their sizes in bytes, with `all` in sum
-- ARGV  [1] digest, [2] for how many ms, [3] bytes that all may take, [4] the image, "" where its caller only asks for it,
--       [5] whose it is, "" where that is nobody's to say
--
-- Returns 1: it is there; 0: it is not, and was not given; -1: there is no room for it; -2: its key has its share of it.
--
-- Of the hash, `DIGEST:key` is who brought an image, and `key:KEY` what all that he brought take. Who shows it, too, has it
-- for nothing.

-- As in admit.lua: so many bytes for each that a key leaves free.
local FOR_EACH_FREE = 3

local now, lasts, sizes = milliseconds(), tonumber(ARGV[2]), KEYS[3]

local function number(field) return tonumber(redis.call('HGET', sizes, field) or 0) end

local function count(digest, key, size)
  redis.call('HSET', sizes, digest, size)
  redis.call('HINCRBY', sizes, 'all', size)
  if key == '' then return end
  redis.call('HSET', sizes, digest .. ':key', key)
  redis.call('HINCRBY', sizes, 'key:' .. key, size)
end

local function discount(digest)
  local size, key = number(digest), redis.call('HGET', sizes, digest .. ':key')
  redis.call('ZREM', KEYS[2], digest)
  redis.call('HDEL', sizes, digest, digest .. ':key')
  redis.call('HINCRBY', sizes, 'all', -size)
  if key and redis.call('HINCRBY', sizes, 'key:' .. key, -size) <= 0 then redis.call('HDEL', sizes, 'key:' .. key) end
end

-- Redis forgets an image by itself; what it took is given back here.
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 256)) do discount(digest) end

if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], lasts)
  redis.call('ZADD', KEYS[2], now + lasts, ARGV[1])
  -- One that was to be forgotten in this very moment was given back just now.
  if redis.call('HEXISTS', sizes, ARGV[1]) == 0 then count(ARGV[1], ARGV[5], redis.call('STRLEN', KEYS[1])) end
  return 1
end
if ARGV[4] == '' then return 0 end

-- One that is counted, and is gone all the same, was evicted or deleted by hand.
if redis.call('HEXISTS', sizes, ARGV[1]) == 1 then discount(ARGV[1]) end
local size = #ARGV[4]
local free = tonumber(ARGV[3]) - number('all') - size
if free < 0 then return -1 end
if ARGV[5] ~= '' and number('key:' .. ARGV[5]) + size > FOR_EACH_FREE * free then return -2 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', lasts)
redis.call('ZADD', KEYS[2], now + lasts, ARGV[1])
count(ARGV[1], ARGV[5], size)
return 1
