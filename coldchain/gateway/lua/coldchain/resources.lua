-- What a gateway knows beside services and routes, by kind: each kind is kept by a module of its own, which is told of
-- every change by `load(name, document)`, the document being nil where there is none any more.

local match = string.match

local M = {}

local KINDS = {  -- kind → module
    certificate = require "coldchain.certificates",
    consumer = require "coldchain.consumers",
    ["key-set"] = require "coldchain.key_sets",
    gray = require "coldchain.gray",
}

-- A kind that this gateway does not know is left alone: the controller may be newer.
function M.load(key, document)
    local kind, name = match(key, "^([%a-]+)/(.*)$")
    local keeper = KINDS[kind]
    if keeper then
        keeper.load(name, document)
    end
end

return M
