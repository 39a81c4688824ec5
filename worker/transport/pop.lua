-- Pops messages and registers them as kombu would, in one step; see worker/transport/queues.py.
--
-- KEYS: the queue's lists, then unacked, unacked_index and the quarantine. ARGV: the most messages,
-- the score. Returns for each list with messages: its name, the messages and their delivery tags.

local lists, bytes = #KEYS - 3, 0
local unacked, index, quarantine = KEYS[lists + 1], KEYS[lists + 2], KEYS[lists + 3]
local remaining, score, answer = tonumber(ARGV[1]), ARGV[2], {}

-- Lua's stack has room for 8,000 values, and each message passes two of them.
local AT_ONCE = 500
-- After this many bytes no more messages are popped.
local MAX_BYTES = 2^24
-- A larger message is no message of ours: its beginning goes to the quarantine, and no worker ever
-- loads the rest.
local MAX_MESSAGE_BYTES, KEPT_BYTES = @MAX_MESSAGE_BYTES@, 2048

-- The beginning and the end of every message of kombu. Decoding all of its JSON would double the
-- cost of this script; the worker decodes it anyway, and quarantines what it can't read.
local HEAD = '{"body": "'
local TAIL = '^"delivery_info": {"exchange": "[%w_.-]*", "routing_key": "[%w_.-]*"}, '
             .. '"priority": %d+, "body_encoding": "base64", "delivery_tag": "([%w-]+)"}}$'
local LONGEST_TAIL = 300

-- A tag that the worker can't decode would hold up every message popped together with it.
local function is_utf8(text)
  local rest = text:gsub('[\194-\223][\128-\191]', '.')
    :gsub('\224[\160-\191][\128-\191]', '.'):gsub('\237[\128-\159][\128-\191]', '.')
    :gsub('[\225-\236\238\239][\128-\191][\128-\191]', '.')
    :gsub('\240[\144-\191][\128-\191][\128-\191]', '.')
    :gsub('[\241-\243][\128-\191][\128-\191][\128-\191]', '.')
    :gsub('\244[\128-\143][\128-\191][\128-\191]', '.')
  return not rest:find('[%z\128-\255]')
end

-- The delivery tag of a message that kombu could requeue; nil if something is missing.
local function tag_of(raw)
  if string.sub(raw, 1, #HEAD) == HEAD then
    local at = string.find(raw, '"delivery_info": {', -LONGEST_TAIL, true)
    if at then
      local tag = string.match(raw, TAIL, at)
      if tag then return tag end
    end
  end
  local ok, message = pcall(cjson.decode, raw)
  local properties = ok and type(message) == 'table' and message.properties
  local info = type(properties) == 'table' and properties.delivery_info
  local tag = type(info) == 'table' and properties.delivery_tag
  if type(tag) == 'string' and is_utf8(tag)
     and type(info.exchange) == 'string' and type(info.routing_key) == 'string' then
    return tag
  end
end

local function register(list, popped)
  -- Registered with the queue that it came from (in the default exchange, whose routing keys are
  -- queues), whatever the message itself says: that is the queue to which it must return.
  local queue = cjson.encode(string.match(list, '^(.-)\6\22') or list)
  local tags, forms, raws = {}, {}, {}
  for _, raw in ipairs(popped) do
    local tag
    if #raw > MAX_MESSAGE_BYTES then
      raw = '@TOO_LARGE@' .. #raw .. ':' .. string.sub(raw, 1, KEPT_BYTES)
    elseif not string.find(raw, '\0', 1, true) then tag = tag_of(raw) end
    bytes = bytes + #raw
    if tag then
      tags[#tags + 1], raws[#raws + 1] = tag, raw
      forms[#forms + 1] = '[' .. raw .. ',"",' .. queue .. ']'
    else
      redis.call('LPUSH', quarantine, raw)
    end
  end
  if #tags == 0 then return end

  local held, new = redis.call('HMGET', unacked, unpack(tags)), {}
  local fields, scores, new_raws, new_tags = {}, {}, {}, {}
  for i, tag in ipairs(tags) do
    local before = held[i] or new[tag]
    if not before then
      new[tag] = forms[i]
      fields[#fields + 1], fields[#fields + 2] = tag, forms[i]
      scores[#scores + 1], scores[#scores + 2] = score, tag
      new_raws[#new_raws + 1], new_tags[#new_tags + 1] = raws[i], tag
    elseif before == forms[i] then
      -- A copy, byte for byte, of a message that a worker holds: one registration is enough.
      redis.call('ZADD', index, 'NX', score, tag)
    else
      redis.call('LPUSH', quarantine, raws[i])
    end
  end
  if #new_tags == 0 then return end
  redis.call('HSET', unacked, unpack(fields))
  redis.call('ZADD', index, unpack(scores))
  answer[#answer + 1] = list
  answer[#answer + 1] = new_raws
  answer[#answer + 1] = new_tags
end

-- A tenth of a large batch comes from the new end of a long queue, so that a new message of one
-- sender does not wait behind all the earlier messages of another.
local newest = 0
if redis.call('LLEN', KEYS[1]) > remaining then
  newest = math.min(math.floor(remaining / 10), AT_ONCE)
end
remaining = remaining - newest

for i = 1, lists do
  while remaining > 0 and bytes < MAX_BYTES do
    local popped = redis.call('RPOP', KEYS[i], math.min(remaining, AT_ONCE))
    if not popped then break end
    remaining = remaining - #popped
    register(KEYS[i], popped)
  end
end
if newest > 0 then register(KEYS[1], redis.call('LPOP', KEYS[1], newest)) end
return answer
