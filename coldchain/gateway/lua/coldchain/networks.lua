-- Addresses and networks of IPv4 and IPv6 as bytes. A set of networks is prepared once; an address is looked for with
-- one step for each prefix length that occurs in it, however many networks there are.

local bit = require "bit"
local ffi = require "ffi"

local band, lshift = bit.band, bit.lshift
local byte, char, find, match, rep, sub = string.byte, string.char, string.find, string.match, string.rep, string.sub
local floor = math.floor

ffi.cdef [[
int inet_pton(int family, const char *text, void *address);
]]

local M = {}

local IPV4, IPV6 = 2, 10  -- AF_INET, AF_INET6 of Linux
local MAPPED = rep("\0", 10) .. "\255\255"
local address = ffi.new("unsigned char[16]")

-- IPv4 in the clothes of IPv6 is the same address.
local function plain(bytes)
    if #bytes == 16 and sub(bytes, 1, 12) == MAPPED then
        return sub(bytes, 13)
    end
    return bytes
end

M.plain = plain

-- 4 or 16 bytes, nil for what is no address.
function M.binary(text)
    local six = find(text, ":", 1, true)
    if #text > 45 or ffi.C.inet_pton(six and IPV6 or IPV4, text, address) ~= 1 then
        return nil
    end
    return plain(ffi.string(address, six and 16 or 4))
end

-- The first `length` bits; the others are 0.
local function masked(bytes, length)
    local whole, rest = floor(length / 8), length % 8
    local kept = sub(bytes, 1, whole)
    if rest > 0 then
        kept = kept .. char(band(byte(bytes, whole + 1), 256 - lshift(1, 8 - rest)))
    end
    return kept .. rep("\0", #bytes - #kept)
end

-- Of texts such as 10.0.0.0/8 and 2001:db8::1. Returns nil for none, and an error for what is no network.
function M.set(texts)
    local found = {[4] = {}, [16] = {}}
    local count = 0
    for _, text in ipairs(texts or {}) do
        local base, length = match(text, "^([^/]+)/(%d+)$")
        local bytes = M.binary(base or text)
        length = bytes and (tonumber(length) or #bytes * 8)
        if not bytes or length > #bytes * 8 then
            return nil, text .. " is no network"
        end
        local lengths = found[#bytes]
        lengths[length] = lengths[length] or {}
        lengths[length][masked(bytes, length)] = true
        count = count + 1
    end
    return count > 0 and found or nil
end

-- Whether an address, as bytes, is in one of them.
function M.has(set, bytes)
    for length, members in pairs(set[#bytes]) do
        if members[masked(bytes, length)] then
            return true
        end
    end
    return false
end

return M
