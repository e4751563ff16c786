-- Tokens (JWT) as credentials. The route says by which algorithm they are signed and whose keys count; what a token says
-- of that itself only has to agree. Verified ones are remembered until they end or the key is another one.

local ffi = require "ffi"
local cjson = require "cjson.safe"
local consumers = require "coldchain.consumers"
local digest = require "openssl.digest"
local digests = require "coldchain.digests"
local documents = require "coldchain.documents"
local key_sets = require "coldchain.key_sets"

local byte, char, find, format, gsub = string.byte, string.char, string.find, string.format, string.gsub
local lower, match, rep, sub = string.lower, string.match, string.rep, string.sub
local var = ngx.var

ffi.cdef [[
void ERR_clear_error(void);
]]

local given = documents.given

local M = {}

local TOKEN_BYTES_MAX = 6144  -- nginx takes no line of headers that is longer than 8192
local REMEMBERED_BYTES_MAX = 4 * 1024 * 1024  -- by each of the two halves, of every worker
local NAME_BYTES_MAX, HEADER_BYTES_MAX = 255, 1024
local LATEST_TIME = 2 ^ 53
local NOT_KNOWN_YET = "the keys by which tokens are signed are not known yet"

-- Bytes of text that was encoded in the one way that base64url without padding has; nil for any other.
local function decoded(text)
    local padded = gsub(gsub(text, "-", "+"), "_", "/") .. rep("=", -#text % 4)
    local bytes = ngx.decode_base64(padded)
    if bytes and ngx.encode_base64(bytes) == padded then
        return bytes
    end
end

local function object(text)
    local bytes = decoded(text)
    local found = bytes and find(bytes, "^%s*{") and cjson.decode(bytes)
    return type(found) == "table" and found or nil
end

-- ASN.1's form of a whole number.
local function integer(bytes)
    bytes = gsub(bytes, "^%z+", "")
    if bytes == "" or byte(bytes) >= 128 then
        bytes = "\0" .. bytes
    end
    return char(2, #bytes) .. bytes
end

local function verified(key, algorithm, signature, text)
    if algorithm == "ES256" then
        if #signature ~= 64 then
            return false
        end
        local both = integer(sub(signature, 1, 32)) .. integer(sub(signature, 33))
        signature = char(48, #both) .. both
    end
    local fine, right = pcall(key.verify, key, signature, digest.new("sha256"):update(text))
    ffi.C.ERR_clear_error()  -- else nginx finds it at the next thing that it does over TLS
    return fine and right == true
end

local function is_in(wanted, said)
    if type(said) ~= "table" then
        return said == wanted
    end
    for _, one in ipairs(said) do
        if one == wanted then
            return true
        end
    end
    return false
end

-- Until when it is good; nil for one that is not, or not yet. What is no number is never right, nor is NaN.
local function good_until(rule, claims)
    local now, ends, begins = ngx.now(), claims.exp, given(claims.nbf)
    if type(ends) ~= "number" or not (ends < LATEST_TIME) or not (ends + rule.leeway > now) then
        return nil
    end
    if begins ~= nil and (type(begins) ~= "number" or not (begins - rule.leeway <= now)) then
        return nil
    end
    if rule.issuer and claims.iss ~= rule.issuer or rule.audience and not is_in(rule.audience, claims.aud) then
        return nil
    end
    return ends + rule.leeway
end

local function plain(value, bytes_max)
    return type(value) == "string" and value ~= "" and #value <= bytes_max and not find(value, "%c")
end

-- A claim as the value of a header; nil for one that cannot stand there in only one way.
local function header_value(value)
    if type(value) == "number" then
        return format("%.14g", value)
    end
    if type(value) == "boolean" then
        return tostring(value)
    end
    if type(value) == "table" then
        for _, one in ipairs(value) do
            if not plain(one, HEADER_BYTES_MAX) or find(one, ",", 1, true) then
                return nil
            end
        end
        value = table.concat(value, ",")
    end
    return plain(value, HEADER_BYTES_MAX) and value or nil
end

local function headers_of(rule, claims)
    local found = {}
    for name, claim in pairs(rule.headers) do
        found[name] = header_value(claims[claim])
    end
    return found
end

-- By what a token is verified: a secret of a consumer, or a key of the route's set; nil where there is none such.
local function key_for(rule, id)
    if rule.algorithm == "HS256" then
        return type(id) == "string" and consumers.secret(id, "jwt") or nil
    end
    if id ~= nil and type(id) ~= "string" then
        return nil
    end
    local set = key_sets.named(rule.keys)
    return set and key_sets.find(set, rule.algorithm, id)
end

-- What is known of a token that is right: {id, key, until_, name, headers}; nil for all others.
local function examined(rule, token)
    local head, body, signature = match(token, "^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
    local header = head and object(head)
    if not header or header.alg ~= rule.algorithm or header.crit ~= nil then
        return nil
    end
    local id = header.kid
    local key = key_for(rule, id)
    signature = decoded(signature)
    if not key or not signature then
        return nil
    end
    local text = head .. "." .. body
    if rule.algorithm == "HS256" then
        if not digests.equal(digests.signature(key.value, text), signature) then
            return nil
        end
    elseif not verified(key, rule.algorithm, signature, text) then
        return nil
    end
    local claims = object(body)
    local until_ = claims and good_until(rule, claims)
    local name = claims and (rule.algorithm == "HS256" and key.consumer.name or claims[rule.claim])
    if not until_ or not plain(name, NAME_BYTES_MAX) then
        return nil
    end
    return {id = id, key = key, until_ = until_, name = name, headers = headers_of(rule, claims)}
end

-- Two halves: when one is full the other one, which nobody asked for since, is forgotten.
local fresh, fading, fresh_bytes = {}, {}, 0

local function remember(rule, header, found)
    if fresh_bytes > REMEMBERED_BYTES_MAX then
        fresh, fading, fresh_bytes = {}, fresh, 0
    end
    fresh[header] = fresh[header] or {}
    fresh[header][rule] = found
    fresh_bytes = fresh_bytes + #header + 512
end

local function recall(rule, header)
    local found = fresh[header] and fresh[header][rule]
    if not found then
        found = fading[header] and fading[header][rule]
        if not found then
            return nil
        end
        remember(rule, header, found)
    end
    if found.until_ > ngx.now() and key_for(rule, found.id) == found.key then
        return found
    end
    fresh[header][rule] = nil
end

local function look(rule)
    local header = var.http_authorization or ""
    local found = recall(rule, header)  -- by all of it: to take it apart is most of what a known one costs
    if not found then
        local scheme, token = match(header, "^(%a+) +(.*)$")
        if not scheme or lower(scheme) ~= "bearer" then
            return false
        end
        if #token > TOKEN_BYTES_MAX then
            return true
        end
        if rule.keys and not key_sets.named(rule.keys) then
            return true, nil, 503, NOT_KNOWN_YET
        end
        found = examined(rule, token)
        if not found then
            return true
        end
        remember(rule, header, found)
    end
    return true, consumers.named(found.name) or {name = found.name}, nil, nil, found.headers
end

-- Returns what looks for a token, and what it answers to who shows none.
function M.make(wanted)
    local rule = {
        algorithm = wanted.algorithm, keys = given(wanted.keys), issuer = given(wanted.issuer),
        audience = given(wanted.audience), leeway = wanted.leewaySeconds, claim = wanted.consumerClaim,
        headers = given(wanted.headers) or {},
    }
    return function()
        return look(rule)
    end, 'Bearer realm="coldchain"'
end

return M
