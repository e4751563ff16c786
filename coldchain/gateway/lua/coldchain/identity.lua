-- Who sends a request, for the policies that are asked after authentication, and for the app.

local var = ngx.var

local M = {}

local consumer_of = {}  -- request → name

-- From now on the request is this consumer's. The app is told by headers that nobody else can set.
function M.set(key, name, groups)
    consumer_of[key] = name
    var.coldchain_consumer = name
    if groups and groups ~= "" then
        var.coldchain_consumer_groups = groups
    end
end

-- The name of the consumer whose request this is; nil where the route does not ask for it.
function M.of(key)
    return consumer_of[key]
end

-- After the last phase of a request.
function M.ended(key)
    consumer_of[key] = nil
end

return M
