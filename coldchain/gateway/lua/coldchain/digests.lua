-- SHA-256 and HMAC of it, and comparing what was sent with what it should be.

local bit = require "bit"
local digest = require "openssl.digest"
local hmac = require "openssl.hmac"

local bor, bxor = bit.bor, bit.bxor
local byte, format, gsub = string.byte, string.format, string.gsub

local M = {}

local CHUNK_BYTES = 65536

local function hexadecimal(bytes)
    return (gsub(bytes, ".", function(one) return format("%02x", byte(one)) end))
end

-- In hexadecimal digits.
function M.of_text(text)
    return hexadecimal(digest.new("sha256"):final(text))
end

-- The same of a file and its size; nil when it cannot be read.
function M.of_file(name)
    local file = io.open(name, "rb")
    if not file then
        return nil
    end
    local sum, size = digest.new("sha256"), 0
    for chunk in function() return file:read(CHUNK_BYTES) end do
        sum:update(chunk)
        size = size + #chunk
    end
    file:close()
    return hexadecimal(sum:final()), size
end

-- 32 bytes.
function M.signature(secret, text)
    return hmac.new(secret, "sha256"):final(text)
end

function M.signature_text(secret, text)
    return hexadecimal(M.signature(secret, text))
end

-- Takes equally long wherever they differ.
function M.equal(one, other)
    if #one ~= #other then
        return false
    end
    local difference = 0
    for index = 1, #one do
        difference = bor(difference, bxor(byte(one, index), byte(other, index)))
    end
    return difference == 0
end

return M
