-- Gray releases: which version of a service takes a request. A service with a release has its endpoints on sides: those
-- of the new version (gray), those of the version before it (normal), and the rest, which get nothing while one of the
-- other two can serve. A service without one knows nothing of all this.
--
-- Who is within a share is a number from 0 to 9999 that belongs to the consumer, by a hash or by a cookie, so that a
-- growing share adds consumers and sends none back.

local choice = require "coldchain.choice"
local client = require "coldchain.client"
local documents = require "coldchain.documents"
local identity = require "coldchain.identity"
local networks = require "coldchain.networks"

local crc32, random, tonumber = ngx.crc32_long, math.random, tonumber
local lower, gsub, match = string.lower, string.gsub, string.match
local among_lists = choice.among_lists
local var = ngx.var

local given, set_of = documents.given, documents.set_of

local M = {mark_trusted = false}  -- whether anybody's mark is believed

local SHARES = 10000
local COOKIE = "coldchain_gray"
local COOKIE_ATTRIBUTES = "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"

local NORMAL = {side = "normal"}
local GRAY = {side = "gray"}
local CHOICES = {
    gray = {[false] = GRAY, [true] = {side = "gray", strict = true}},
    normal = {[false] = NORMAL, [true] = {side = "normal", strict = true}},
}

local releases = {}   -- service name → release as it is carried out
local changed = {}    -- service name → true, until `settle`
local choice_of = {}  -- request → choice
local cookie_of = {}  -- request → the number that its consumer is to keep

local function variable(prefix, name)
    return prefix .. gsub(lower(name), "-", "_")
end

-- Who asks, by what a rule knows him by; nil when that is not in the request.
local function asker(who, name)
    if who == "header" then
        local wanted = variable("http_", name)
        return function()
            return var[wanted]
        end
    elseif who == "cookie" then
        local wanted = "cookie_" .. name
        return function()
            return var[wanted]
        end
    elseif who == "consumer" then
        return identity.of
    end
    return client.address
end

-- Addresses as `client.address` gives them.
local function binary(addresses)
    local set = {}
    for address in pairs(addresses) do
        set[networks.binary(address) or ""] = true
    end
    return set
end

-- The tests of each kind: made from (rule, release), they return whether a request (its key) fits.
local TESTS = {}

local function has_value(rule, who)
    local ask, values = asker(who, given(rule.name)), set_of(rule.values or {})
    local any = next(values) == nil
    return function(key)
        local found = ask(key)
        return found ~= nil and (any or values[found] == true)
    end
end

function TESTS.header(rule)
    return has_value(rule, "header")
end

function TESTS.cookie(rule)
    return has_value(rule, "cookie")
end

function TESTS.users(rule)
    local ask, values = asker(given(rule.who), given(rule.name)), set_of(rule.values or {})
    if rule.who == "address" then
        values = binary(values)
    end
    return function(key)
        local found = ask(key)
        return found ~= nil and values[found] == true
    end
end

function TESTS.hash(rule, release)
    local ask, share, salt = asker(given(rule.who), given(rule.name)), release.share, release.mark .. "\n"
    return function(key)
        local found = ask(key)
        return found ~= nil and crc32(salt .. found) % SHARES < share
    end
end

function TESTS.weight(rule, release)
    local share, wanted = release.share, "cookie_" .. COOKIE
    return function(key)
        if share <= 0 or share >= SHARES then
            return share > 0
        end
        if not rule.sticky then
            return random(0, SHARES - 1) < share
        end
        local number = tonumber(match(var[wanted] or "", "^%d%d?%d?%d?$"))
        if not number then
            number = random(0, SHARES - 1)
            cookie_of[key] = number
        end
        return number < share
    end
end

local function make(document)
    local release = {
        mark = document.mark, version = document.version, normal = given(document.normal), share = document.share,
        only = CHOICES[given(document.only) or ""], rules = {},
    }
    release.only = release.only and release.only[false]
    for _, rule in ipairs(document.rules or {}) do
        local test = TESTS[rule.by]
        if test then  -- else the controller is newer
            release.rules[#release.rules + 1] = {
                fits = test(rule, release), choice = CHOICES[rule.to or "gray"][rule.strict == true],
            }
        end
    end
    return release
end

-- A release came, changed, or is no more (nil). In force with `settle`.
function M.load(name, document)
    releases[name] = document and make(document)
    changed[name] = true
end

local function side_of(release, peer)
    if peer.version == release.version then
        return "gray"
    end
    return (not release.normal or peer.version == release.normal) and "normal" or "rest"
end

-- Puts the endpoints of a service on the sides of its release, if it has one.
function M.split(service)
    local release = releases[service.name]
    service.gray = release
    if not release then
        service.orders = nil
        return
    end
    local sides = {}
    for _, side in ipairs {"gray", "normal", "rest"} do
        sides[side] = {ready = {}, count = 0, equal = true}
    end
    for _, peer in ipairs(service.ready) do
        local list = sides[side_of(release, peer)]
        list.count = list.count + 1
        list.ready[list.count] = peer
        list.equal = list.equal and peer.weight == list.ready[1].weight
    end
    for _, list in pairs(sides) do
        list.turn = random(0, math.max(0, list.count - 1))
    end
    service.orders = {
        gray = {sides.gray, sides.normal, sides.rest},
        normal = {sides.normal, sides.gray, sides.rest},
    }
end

-- Once all that came with an update is loaded.
function M.settle(services)
    for name in pairs(changed) do
        if services[name] then
            M.split(services[name])
        end
    end
    changed = {}
end

local function decide_further(rules, key)
    for index = 2, #rules do
        if rules[index].fits(key) then
            return rules[index].choice
        end
    end
    return NORMAL
end

local function decide(release, key)
    if M.mark_trusted and var.coldchain_mark == release.mark then
        return GRAY
    end
    local rules = release.rules
    local first = rules[1]
    if first and first.fits(key) then
        return first.choice
    end
    return rules[2] and decide_further(rules, key) or NORMAL
end

-- Decides about a request to a service with a release, and marks it. True when its answer is to set a cookie.
function M.choose(service, key)
    local release = service.gray
    local made = release.only or decide(release, key)
    choice_of[key] = made
    if made.side == "gray" then
        var.coldchain_mark = release.mark
    end
    return cookie_of[key] ~= nil
end

-- The endpoint for a request, or nil. What is decided for all goes before what was decided for this one: it may have
-- taken minutes to come.
function M.pick(service, key, by_least, tried)
    local made = service.gray.only or choice_of[key] or NORMAL
    local order = service.orders[made.side]
    return among_lists(order, made.strict and 1 or #order, by_least, tried)
end

-- On the answer to a request.
function M.response(key)
    local number = cookie_of[key]
    if number then
        local cookies = ngx.header["Set-Cookie"] or {}
        cookies = type(cookies) == "table" and cookies or {cookies}
        cookies[#cookies + 1] = COOKIE .. "=" .. number .. COOKIE_ATTRIBUTES
        ngx.header["Set-Cookie"] = cookies
    end
end

-- After the last phase of a request.
function M.ended(key)
    if choice_of[key] then
        choice_of[key], cookie_of[key] = nil, nil
    end
end

return M
