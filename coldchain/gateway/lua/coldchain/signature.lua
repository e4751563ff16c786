-- Requests signed by a secret that the consumer shares with the gateways (HMAC-SHA-256). What is signed stands in
-- docs/howto/consumers.md. The signature is looked at before the body is taken in, so that nobody else makes us do that;
-- what was sent once is remembered for as long as its timestamp holds.

local consumers = require "coldchain.consumers"
local digests = require "coldchain.digests"

local abs = math.abs
local lower, match = string.lower, string.match
local var = ngx.var

local M = {}

local SCHEME = "Coldchain-HMAC-SHA256"
local FIELDS = "^key=(%w+), *timestamp=(%d+), *nonce=([%w_-]+), *body=(%x+), *signature=(%x+)$"
local NONCE_CHARACTERS_MIN, NONCE_CHARACTERS_MAX = 16, 64
local TOO_MANY = "too many signed requests to remember them all: try again later"
local TOO_LARGE = "the request body is too large"

local nonces = ngx.shared.coldchain_nonces

local function signed_text(timestamp, nonce, body)
    return table.concat({
        SCHEME, var.request_method, lower(var.http_host or ""), var.request_uri, timestamp, nonce, body,
    }, "\n")
end

-- The digest of the body and its size; nil where that is longer than allowed, or cannot be read.
local function body_digest(most)
    local length = tonumber(var.http_content_length)
    if length and length > most then
        return nil
    end
    ngx.req.read_body()
    local data, file = ngx.req.get_body_data(), ngx.req.get_body_file()
    if file then
        local sum, size = digests.of_file(file)
        return sum and size <= most and sum or nil
    end
    data = data or ""
    return #data <= most and digests.of_text(data) or nil
end

-- Whether this nonce of a key is new; nil when there is no room to remember it.
local function is_new(id, nonce, seconds)
    local key = id .. ":" .. nonce
    local fine, problem = nonces:safe_add(key, true, seconds)
    if problem == "no memory" then
        nonces:flush_expired(100)
        fine, problem = nonces:safe_add(key, true, seconds)
    end
    if not fine and problem ~= "exists" then
        ngx.log(ngx.ERR, "a signed request is refused, since it could not be remembered: ", problem)
        return nil
    end
    return fine
end

local function examined(rule, text)
    local id, timestamp, nonce, body, signature = match(text, FIELDS)
    local secret = id and consumers.secret(id, "hmac")
    if not secret or #timestamp > 12 or #nonce < NONCE_CHARACTERS_MIN or #nonce > NONCE_CHARACTERS_MAX then
        return nil
    end
    local now, skew = ngx.now(), rule.clockSkewSeconds
    local right = digests.signature_text(secret.value, signed_text(timestamp, nonce, body))
    if not digests.equal(right, signature) or abs(now - tonumber(timestamp)) > skew then
        return nil
    end
    local sum = body_digest(rule.bodyBytesMax)
    if not sum then
        return nil, 413, TOO_LARGE
    end
    if sum ~= body then
        return nil
    end
    -- The body may have taken a while: it is remembered from now on until no gateway would take it any more.
    local new = is_new(id, nonce, math.max(1, tonumber(timestamp) + skew - ngx.now() + 1))
    if new == nil then
        return nil, 503, TOO_MANY
    end
    return new and secret.consumer or nil
end

-- Returns what looks for a signature, and what it answers to who shows none.
function M.make(wanted)
    return function()
        local scheme, text = match(var.http_authorization or "", "^(%S+) +(.*)$")
        if scheme ~= SCHEME then
            return false
        end
        return true, examined(wanted, text)
    end, SCHEME .. ' realm="coldchain"'
end

return M
