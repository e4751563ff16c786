-- API keys, in a header or in the query. Looked up by their digest: how long that takes says nothing of other keys.

local consumers = require "coldchain.consumers"
local digests = require "coldchain.digests"

local gmatch, gsub, lower, match = string.gmatch, string.gsub, string.lower, string.match
local var = ngx.var

local M = {mask_query = false}

local KEY_CHARACTERS_MAX = 256
local MASK = "***"

local function consumer_of(text)
    if #text > KEY_CHARACTERS_MAX then
        return nil
    end
    return consumers.by_digest(digests.of_text(text))
end

local function by_header(name)
    local variable = "http_" .. gsub(lower(name), "-", "_")
    return function()
        local text = var[variable]
        if not text then
            return false
        end
        ngx.req.clear_header(name)  -- the app has no use for it
        return true, consumer_of(text)
    end
end

-- The query without the key, the same with a mask in its place, and the key; no key where there is none or several.
local function split(query, name)
    local others, masked, text, count = {}, {}, nil, 0
    for part in gmatch(query, "[^&]+") do
        local key, value = match(part, "^([^=]*)=?(.*)$")
        if ngx.unescape_uri(key) == name then
            text, count = ngx.unescape_uri(value), count + 1
            masked[#masked + 1] = name .. "=" .. MASK
        else
            others[#others + 1] = part
            masked[#masked + 1] = part
        end
    end
    return table.concat(others, "&"), table.concat(masked, "&"), count == 1 and text or nil, count
end

local function by_query(name)
    return function()
        local query = var.args
        if not query then
            return false
        end
        local others, masked, text, count = split(query, name)
        if count == 0 then
            return false
        end
        ngx.req.set_uri_args(others)
        if M.mask_query then
            var.coldchain_uri = gsub(var.request_uri, "%?.*$", "") .. "?" .. masked
        end
        return true, text and consumer_of(text)
    end
end

-- `wanted`: {header} or {query}. Returns what looks for a key: whether there was one, and whose it is.
function M.make(wanted)
    if wanted.query and wanted.query ~= ngx.null then
        return by_query(wanted.query), 'ApiKey realm="coldchain"'
    end
    return by_header(wanted.header), 'ApiKey realm="coldchain"'
end

return M
