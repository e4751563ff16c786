-- The rotation as all workers share it: what was committed, readable whole at any moment, written by one at a time.
--
-- Every value is kept under its version, the number of the commit that wrote it: `17:service:shop` is the JSON text of
-- service `shop` as of commit 17, `null` where it was removed. `change:17` lists the keys of commit 17. One fixed-size
-- value beside them, the head, says which commit counts, so that a commit is seen as a whole or not at all, also when the memory
-- is full half way or the writing worker is killed. Superseded versions are swept now and then; a reader that misses
-- one reads everything anew.

local cjson = require "cjson.safe"

local values = ngx.shared.coldchain_rotation
local control = ngx.shared.coldchain_control
local format, match = string.format, string.match

local M = {}

M.NO_ROOM = "the shared memory of the gateway's own state is full (memory control)"

local LOCK_SECONDS = 5
local LOCK_TRIES = 1000
local CHANGES_KEPT = 32
local SWEEP_EVERY = 32

-- Returns the raw head (to compare), the number of the last commit, its revision, and the commit that began anew.
function M.head()
    local raw = values:get("head")
    if not raw then
        return "", 0, 0, 0
    end
    local sequence, revision, first = match(raw, "^(%d+) (%d+) (%d+)$")
    return raw, tonumber(sequence), tonumber(revision), tonumber(first)
end

-- Whether the head is another one than this raw one.
function M.differs(raw)
    return (values:get("head") or "") ~= raw
end

-- The JSON text of a key as of a commit, nil when it is no longer (or not yet) there.
function M.value(sequence, key)
    return values:get(format("%.0f:%s", sequence, key))
end

-- The keys that a commit changed; nil when that is no longer known, or when it began anew.
function M.changes(sequence)
    local text = values:get(format("change:%.0f", sequence))
    return text and cjson.decode(text)
end

-- The newest version of every key as of a commit, as a table from key to version, among these names or all there are.
function M.versions(first, sequence, names)
    local versions = {}
    for _, name in ipairs(names or values:get_keys(0)) do
        local version, key = match(name, "^(%d+):(.*)$")
        version = tonumber(version)
        if version and version >= first and version <= sequence and version > (versions[key] or 0) then
            versions[key] = version
        end
    end
    return versions
end

-- Removes what no reader of the head needs: superseded, removed and never committed versions, and old change lists.
local function sweep()
    local _, sequence, _, first = M.head()
    local names = values:get_keys(0)
    local versions = M.versions(first, sequence, names)
    for _, name in ipairs(names) do
        local version, key = match(name, "^(%d+):(.*)$")
        if version then
            version = tonumber(version)
            local newest = version == versions[key]
            if not newest or (version < sequence - CHANGES_KEPT and values:get(name) == "null") then
                values:delete(name)
            end
        elseif (tonumber(match(name, "^change:(%d+)$")) or sequence) < sequence - CHANGES_KEPT then
            values:delete(name)
        end
    end
end

local function write(sequence, entries, whole)
    local keys = {}
    for key, text in pairs(entries) do
        local ok, problem = values:safe_set(format("%.0f:%s", sequence, key), text)
        if not ok then
            return nil, problem
        end
        keys[#keys + 1] = key
    end
    if whole then
        return true
    end
    return values:safe_set(format("change:%.0f", sequence), cjson.encode(keys))
end

-- Commits `entries` (key to JSON text) as `revision`; `whole` forgets everything else. Needs the lock.
-- Returns the number of the commit, or nil and why not: then nothing has changed.
function M.commit(entries, revision, whole)
    local _, sequence, _, first = M.head()
    sequence = sequence + 1
    if control:get("writing") then
        sweep()  -- a writer was killed half way: what it left must not become part of this commit
    end
    local ok, problem = control:safe_set("writing", true)
    if not ok then
        return nil, M.NO_ROOM
    end
    ok, problem = write(sequence, entries, whole)
    if not ok then
        sweep()
        ok, problem = write(sequence, entries, whole)
    end
    if ok then
        ok, problem = values:safe_set("head", format("%016.0f %016.0f %016.0f",
            sequence, revision, whole and sequence or first))
    end
    if not ok or whole or sequence % SWEEP_EVERY == 0 then
        sweep()
    end
    control:safe_set("writing", false)
    return ok and sequence, not ok and "the rotation does not fit into the shared memory: " .. problem
end

-- One writer at a time over all workers. A writer never yields between lock and unlock, so waiting is short;
-- the lock of a killed one ends by itself. Returns nil and why not.
function M.lock()
    local problem
    for _ = 1, LOCK_TRIES do
        local ok
        ok, problem = control:safe_add("lock", true, LOCK_SECONDS)
        if ok then
            return true
        elseif problem ~= "exists" then
            return nil, M.NO_ROOM
        end
        ngx.sleep(0.01)
    end
    return nil, "another update holds the lock"
end

function M.unlock()
    control:delete("lock")
end

-- Which memory this is: a reload that changes its size leaves the old workers with the old one.
function M.memory()
    return values:capacity()
end

return M
