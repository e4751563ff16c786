-- What of a document that was pushed is used the same way everywhere.

local null = ngx.null

local M = {}

-- nil for what is null.
function M.given(value)
    if value ~= null then
        return value
    end
end

-- Of a list, none where it is null.
function M.set_of(names)
    local set = {}
    for _, name in ipairs(M.given(names) or {}) do
        set[name] = true
    end
    return set
end

return M
