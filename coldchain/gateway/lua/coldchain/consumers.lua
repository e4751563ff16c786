-- Who may call: the resources of kind `consumer`, with what each of them is known by. Of API keys there are digests.

local documents = require "coldchain.documents"
local M = {}

local consumers = {}   -- name → {name, groups, groups_text}
local of_digest = {}   -- SHA-256 of an API key, hexadecimal → {consumer, expires_at}
local of_secret = {}   -- id of a shared secret → {consumer, use, value, expires_at}

local function forget(name)
    for _, table_ in ipairs({of_digest, of_secret}) do
        for id, one in pairs(table_) do
            if one.consumer.name == name then
                table_[id] = nil
            end
        end
    end
    consumers[name] = nil
end

local function expiry(one)
    return documents.given(one.expiresAt) or math.huge
end

function M.load(name, document)
    forget(name)
    if not document then
        return
    end
    local consumer = {name = name, groups = document.groups or {}}
    consumer.groups_text = table.concat(consumer.groups, ",")
    consumers[name] = consumer
    for _, one in ipairs(document.apiKeys or {}) do
        of_digest[one.digest] = {consumer = consumer, expires_at = expiry(one)}
    end
    for _, one in ipairs(document.secrets or {}) do
        of_secret[one.id] = {
            consumer = consumer, use = one.use, value = ngx.decode_base64(one.value), expires_at = expiry(one),
        }
    end
end

function M.named(name)
    return consumers[name]
end

local function current(one)
    if one and one.expires_at > ngx.now() then
        return one
    end
end

-- Whose API key has this digest; nil for nobody's, or not any more.
function M.by_digest(digest)
    local one = current(of_digest[digest])
    return one and one.consumer
end

-- The shared secret of this id for one use, `hmac` or `jwt`: {consumer, value, expires_at}; another table after each
-- change of its consumer.
function M.secret(id, use)
    local one = current(of_secret[id])
    return one and one.use == use and one or nil
end

return M
