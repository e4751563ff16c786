-- The public keys of who issues tokens: the resources of kind `key-set`, by the address that they come from.

local pkey = require "openssl.pkey"

local M = {}

local sets = {}  -- name → {algorithm → {by_id, only, count}}

local function parsed(name, one)
    local fine, key = pcall(pkey.new, one.pem)
    if not fine then
        ngx.log(ngx.ERR, "a key of ", name, " cannot be read: ", key)
        return nil
    end
    return key
end

function M.load(name, document)
    if not document then
        sets[name] = nil
        return
    end
    local set = {}
    for _, one in ipairs(document.keys or {}) do
        local key = parsed(name, one)
        if key then
            local keys = set[one.algorithm] or {by_id = {}, count = 0}
            set[one.algorithm] = keys
            keys.count, keys.only = keys.count + 1, key
            if one.id and one.id ~= ngx.null then
                keys.by_id[one.id] = key
            end
        end
    end
    sets[name] = set
end

-- What is known of a set; another table after each change, nil where it was never told.
function M.named(name)
    return sets[name]
end

-- The key by which a token is signed that names it so; one without a name may only mean the only one there is.
function M.find(set, algorithm, id)
    local keys = set[algorithm]
    if not keys then
        return nil
    end
    if id == nil then
        return keys.count == 1 and keys.only or nil
    end
    return keys.by_id[id]
end

return M
