-- Which route a request takes: the first of its domain, in the order given, whose path, method and headers are its own.

local sub, byte = string.sub, string.byte
local find = ngx.re.find
local lower, gsub = string.lower, string.gsub
local var = ngx.var

local documents = require "coldchain.documents"
local filters = require "coldchain.filters"
local policies = require "coldchain.policies"
local shedding = require "coldchain.shedding"
local tallies = require "coldchain.tallies"

local given = documents.given

local M = {}

local SLASH = byte("/")

-- nil for an empty one: then nobody has to look.
local function some(names)
    return names and #names > 0 and documents.set_of(names) or nil
end

-- As nginx names the variable of each header.
local function variables(headers)
    local found
    for name, value in pairs(headers or {}) do
        found = found or {}
        found["http_" .. gsub(lower(name), "-", "_")] = value
    end
    return found
end

-- The whole path has to match; a pattern that PCRE does not understand matches nothing, and the log says so.
local function pattern_of(rule)
    local pattern = "^(?:" .. rule.path .. ")\\z"
    local _, _, problem = find("", pattern, "jo")
    if problem then
        ngx.log(ngx.ERR, "route ", rule.path, " of service ", rule.service, " never matches: ", problem)
        return nil, true
    end
    return pattern
end

-- `plain`: neither method nor headers matter.
local function make(rule)
    local methods, headers = some(rule.methods), variables(rule.headers)
    local one = {
        name = rule.name or rule.service .. rule.path, service = rule.service, path = rule.path,
        least = rule.balance == "least_connections",
        methods = methods, headers = headers, plain = not methods and not headers,
        filters = filters.make(rule.filters), policies = policies.make(rule.filters, rule),
    }
    local wanted = given(rule.filters) or {}
    one.rank = shedding.rank(wanted.importance)
    one.ejection = given(wanted.ejection)
    one.slow_start_seconds = given(wanted.slowStartSeconds)
    one.labels = "service=" .. tallies.quoted(one.service) .. ",route=" .. tallies.quoted(one.name)
    one.statuses = {}
    for class = 0, 5 do
        local status = class == 0 and "none" or class .. "xx"
        one.statuses[class] = tallies.key("route_requests_total", one.labels .. ',status="' .. status .. '"')
    end
    if rule.pathKind == "exact" then
        one.exact = rule.path
    elseif rule.pathKind == "regex" then
        one.pattern, one.never = pattern_of(rule)
    else
        one.prefix = gsub(rule.path, "/+$", "")
        one.length = #one.prefix
    end
    return one
end

function M.list(rules)
    local routes = {}
    for _, rule in ipairs(rules) do
        local one = make(rule)
        if not one.never then
            routes[#routes + 1] = one
        end
    end
    return routes
end

local function has_path(route, path)
    local length = route.length
    if length then
        local following = byte(path, length + 1)
        return (following == SLASH or following == nil) and sub(path, 1, length) == route.prefix
    end
    if route.exact then
        return path == route.exact
    end
    return find(path, route.pattern, "jo") ~= nil
end

local function has_headers(headers)
    for name, value in pairs(headers) do
        local given = var[name]
        if not given or (value ~= "*" and given ~= value) then
            return false
        end
    end
    return true
end

function M.find(routes)
    local path
    for index = 1, #routes do
        local route = routes[index]
        local every = route.length == 0  -- takes every path, so that nobody has to ask nginx for it
        if not every then
            path = path or var.uri
        end
        if (every or has_path(route, path))
            and (route.plain or (not route.methods or route.methods[var.request_method])
                and (not route.headers or has_headers(route.headers))) then
            return route
        end
    end
end

return M
