-- How many of something are open now, over all workers: each worker says under its own name how many it has, so what a
-- killed worker had is gone with it. The others count a worker that has just been started from their next tick on.

local shared = ngx.shared.coldchain_open
local safe_set, get, delete = shared.safe_set, shared.get, shared.delete

local M = {used = false}

local held = {}    -- key → how many this worker has
local others = {}  -- names of the other live workers
local own = "-"

-- `name` of this worker, `names` of all that live.
function M.follow(name, names)
    own, others = name, {}
    for _, one in ipairs(names) do
        if one ~= name then
            others[#others + 1] = one
        end
    end
end

-- What a worker that is gone had open.
function M.forget(name)
    for _, key in ipairs(shared:get_keys(0)) do
        if string.sub(key, 1, #name + 1) == name .. "\n" then
            delete(shared, key)
        end
    end
end

local function tell(key, count)
    if count > 0 then
        held[key] = count
        safe_set(shared, own .. "\n" .. key, count)  -- where there is no room the others do not know of it
    else
        held[key] = nil
        delete(shared, own .. "\n" .. key)
    end
end

local function elsewhere(key)
    local sum = 0
    for index = 1, #others do
        sum = sum + (get(shared, others[index] .. "\n" .. key) or 0)
    end
    return sum
end

function M.total(key)
    return (held[key] or 0) + elsewhere(key)
end

-- Takes one more if then not more than `most` are open. It is told first and looked at then, so that of two workers
-- that want the last one at the same moment none may get it, but never both.
function M.take(key, most)
    M.used = true
    local mine = held[key] or 0
    if mine >= most then
        return false
    end
    tell(key, mine + 1)
    if mine + 1 + elsewhere(key) > most then
        tell(key, mine)
        return false
    end
    return true
end

function M.release(key)
    tell(key, (held[key] or 1) - 1)
end

return M
