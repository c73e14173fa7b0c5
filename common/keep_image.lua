-- Keeps an image for a while, unless all of them would take too much.
--
-- KEYS  the image; sorted set of all digests by when they expire; hash of their sizes in bytes, with `all` in sum
-- ARGV  [1] digest, [2] for how many ms, [3] bytes that all may take, [4] the image, "" where its caller only asks for it
--
-- Returns 1: it is there; 0: it is not, and was not given; -1: there is no room for it.

local now, lasts = milliseconds(), tonumber(ARGV[2])

-- Redis forgets an image by itself; what it took is given back here.
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 256)) do
  local size = tonumber(redis.call('HGET', KEYS[3], digest) or 0)
  redis.call('ZREM', KEYS[2], digest)
  redis.call('HDEL', KEYS[3], digest)
  redis.call('HINCRBY', KEYS[3], 'all', -size)
end

if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], lasts)
  redis.call('ZADD', KEYS[2], now + lasts, ARGV[1])
  return 1
end
if ARGV[4] == '' then return 0 end

local size = #ARGV[4]
-- One that is counted, and is gone all the same, was evicted or deleted by hand.
local counted = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0)
if tonumber(redis.call('HGET', KEYS[3], 'all') or 0) - counted + size > tonumber(ARGV[3]) then return -1 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', lasts)
redis.call('ZADD', KEYS[2], now + lasts, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], size)
redis.call('HINCRBY', KEYS[3], 'all', size - counted)
return 1
