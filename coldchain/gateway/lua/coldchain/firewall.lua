-- The firewall of a route: what ModSecurity's core rules think of a request, and what becomes of it.
--
-- The rules only tell what they found, in the address of a redirection that nobody sees: ids of the rules, what they
-- looked at, and their scores. What it means for the request is decided here.

local cjson = require "cjson.safe"
local documents = require "coldchain.documents"
local modsecurity = require "coldchain.modsecurity"
local tallies = require "coldchain.tallies"

local concat, find, floor, format = table.concat, string.find, math.floor, string.format
local gmatch, gsub, match, sub = string.gmatch, string.gsub, string.match, string.sub
local var = ngx.var

local M = {}

-- The kinds of attack by the names that definitions use, in the order of the core rules.
local SETS = {
    {"scanners", "REQUEST-913-SCANNER-DETECTION.conf"},
    {"protocol", "REQUEST-920-PROTOCOL-ENFORCEMENT.conf", "REQUEST-921-PROTOCOL-ATTACK.conf",
        "REQUEST-922-MULTIPART-ATTACK.conf"},
    {"lfi", "REQUEST-930-APPLICATION-ATTACK-LFI.conf"},
    {"rfi", "REQUEST-931-APPLICATION-ATTACK-RFI.conf"},
    {"rce", "REQUEST-932-APPLICATION-ATTACK-RCE.conf"},
    {"php", "REQUEST-933-APPLICATION-ATTACK-PHP.conf"},
    {"nodejs", "REQUEST-934-APPLICATION-ATTACK-NODEJS.conf"},
    {"xss", "REQUEST-941-APPLICATION-ATTACK-XSS.conf"},
    {"sqli", "REQUEST-942-APPLICATION-ATTACK-SQLI.conf"},
    {"sessions", "REQUEST-943-APPLICATION-ATTACK-SESSION-FIXATION.conf"},
    {"java", "REQUEST-944-APPLICATION-ATTACK-JAVA.conf"},
}
local ALWAYS = {"REQUEST-901-INITIALIZATION.conf", "REQUEST-911-METHOD-ENFORCEMENT.conf"}

local PARAMETERS_MAX = 500  -- many would hold up the worker, and what is not looked at must not get through
local MANY = "many"
local MALFORMED_SCORE = 5  -- as a critical rule: an app may read such a body in a way that the rules did not
local NAME_BYTES_MAX = 100
local NAMES_MAX = 20
local FOUND = "setvar:'tx.coldchain_rules=%{tx.coldchain_rules} %{rule.id}',"
    .. "setvar:'tx.coldchain_names=%{tx.coldchain_names}\n%{MATCHED_VAR_NAME}'"
local BEFORE = [[
SecRuleEngine On
SecAuditEngine Off
SecRequestBodyAccess On
SecRequestBodyLimit 2097152
SecRequestBodyNoFilesLimit 2097152
SecRequestBodyJsonDepthLimit 100
SecArgumentsLimit @parameters@
SecDefaultAction "phase:1,nolog,pass,@found@"
SecDefaultAction "phase:2,nolog,pass,@found@"
SecAction "id:1,phase:1,t:none,setvar:tx.crs_setup_version=330,setvar:tx.paranoia_level=@paranoia@,]]
    .. [[setvar:'tx.allowed_methods=@methods@'"
SecRule REQUEST_HEADERS:Content-Type "@rx ^[a-z]+/(?:[a-z0-9._-]+[+])?json\b" ]]
    .. [["id:2,phase:1,t:none,t:lowercase,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "@rx ^[a-z]+/(?:[a-z0-9._-]+[+])?xml\b" ]]
    .. [["id:3,phase:1,t:none,t:lowercase,ctl:requestBodyProcessor=XML"
SecRule &ARGS "@ge @parameters@" "id:4,phase:2,t:none,status:302,redirect:'@many@'"
]]
-- Numbers first, and what a consumer had a hand in last, so that it can only stand in that place.
local AFTER = [[
SecAction "id:9,phase:2,t:none,status:302,redirect:'%{tx.anomaly_score_pl1},%{tx.anomaly_score_pl2},]]
    .. [[%{tx.anomaly_score_pl3},%{tx.anomaly_score_pl4},%{REQBODY_ERROR};%{tx.coldchain_rules};%{tx.coldchain_names}'"
]]

local MISSING = "the firewall that this route asks for is not installed at the gateway"
local TOO_LONG = "the request body is too large to be looked at"
local TOO_MANY = "the request has too many parameters to be looked at"
local ATTACK = "the request looks like an attack"

-- `options`: library and rules, nil where ModSecurity or the core rules are not installed.
function M.init(options)
    if not options then
        return
    end
    local files = {}
    for _, file in ipairs(ALWAYS) do
        files[file] = file
    end
    for _, set in ipairs(SETS) do
        for place = 2, #set do
            files[set[place]] = set[place]
        end
    end
    local done, problem = pcall(modsecurity.init, options, files)
    M.problem = not done and problem or nil
    if not done then
        ngx.log(ngx.ERR, "the firewall cannot be used: ", problem)
    end
end

local function files_of(wanted)
    local names, all = {}, #(wanted or {}) == 0
    for _, name in ipairs(wanted or {}) do
        names[name] = true
    end
    local files = {ALWAYS[1], ALWAYS[2]}
    for _, set in ipairs(SETS) do
        if all or names[set[1]] then
            for place = 2, #set do
                files[#files + 1] = set[place]
            end
        end
    end
    return files
end

local function number(value, least, most)
    value = tonumber(value)
    if not value or value ~= floor(value) or value < least or value > most then
        error("a number of the firewall is none", 0)
    end
    return format("%d", value)
end

local function plain(text, pattern)
    if type(text) ~= "string" or not find(text, pattern) then
        error("a name of the firewall is not plain", 0)
    end
    return text
end

local TARGETS = {parameter = "ARGS", header = "REQUEST_HEADERS", cookie = "REQUEST_COOKIES"}

-- All that a definition brings into the rules is checked here once more: numbers, and names of plain characters.
local function exclusion_text(exclusion)
    local rule = number(exclusion.rule, 910000, 948999)
    for name, variable in pairs(TARGETS) do
        local target = exclusion[name]
        if target and target ~= ngx.null then
            target = plain(target, "^[%w_.-]+$")
            if name == "header" then
                target = string.lower(target)  -- as headers are shown to the rules
            end
            return format('SecRuleUpdateTargetById %s "!%s:%s"\n', rule, variable, target)
        end
    end
    return format("SecRuleRemoveById %s\n", rule)
end

local function text_of(wanted)
    local methods = {}
    for place, method in ipairs(wanted.methods) do
        methods[place] = plain(method, "^%u+$")
    end
    local values = {
        parameters = tostring(PARAMETERS_MAX + 1), many = MANY, found = FOUND,
        paranoia = number(wanted.paranoia, 1, 4), methods = concat(methods, " "),
    }
    local texts = {(gsub(BEFORE, "@(%l+)@", values))}
    for _, exclusion in ipairs(wanted.exclusions or {}) do
        texts[#texts + 1] = exclusion_text(exclusion)
    end
    return concat(texts)
end

local made = setmetatable({}, {__mode = "v"})  -- routes that ask for the same have the same rules

local function rules_of(wanted)
    local text, files = text_of(wanted), files_of(wanted.sets)
    local key = text .. concat(files, ",")
    local rules = made[key]
    if not rules then
        rules = modsecurity.compile(text, files, AFTER)
        made[key] = rules
    end
    return rules
end

-- The body, or nil and true where it is longer than `most`.
local function body_of(most)
    local length = tonumber(var.http_content_length)
    if length and length > most then
        return nil, true
    end
    ngx.req.read_body()
    local data = ngx.req.get_body_data()
    if data then
        return #data <= most and data or nil, #data > most
    end
    local file = ngx.req.get_body_file()
    if not file then
        return ""
    end
    local opened = assert(io.open(file, "rb"))
    data = opened:read(most + 1) or ""
    opened:close()
    return #data <= most and data or nil, #data > most
end

local function printable(name)
    return (gsub(sub(name, 1, NAME_BYTES_MAX), "[^ -~]", "?"))
end

-- Rules by their id, each once, with what they looked at: the rules of the core rule set that only lead the way from
-- one part of it to the next are left out. Names that a consumer made so that they cannot be told apart are left out.
local function found(rules, names)
    local targets, count = {}, 0
    for name in gmatch(names, "\n([^\n]*)") do
        count = count + 1
        targets[count] = name
    end
    local ids, looked_at, seen, place = {}, {}, {}, 0
    for id in gmatch(rules, " (%d*)") do
        place = place + 1
        local value = tonumber(id)
        if value and value >= 911000 and value % 1000 >= 100 then
            if not seen[value] then
                seen[value] = true
                ids[#ids + 1] = value
            end
            looked_at[place] = true
        end
    end
    local shown = {}
    if place == count then
        for one = 1, place do
            local name = looked_at[one] and printable(targets[one])
            if name and not seen[name] and #shown < NAMES_MAX then
                seen[name] = true
                shown[#shown + 1] = name
            end
        end
    end
    return ids, shown
end

-- What the rules said: score, rules, what they looked at, and whether the body is malformed.
local function judge(answer)
    local numbers, rules, names = match(answer, "^([%d,]*);([%d ]*);(.*)$")
    if not numbers then
        error("ModSecurity's answer is not understood", 0)
    end
    local one, two, three, four, malformed = match(numbers, "^(%d*),(%d*),(%d*),(%d*),(%d*)$")
    local score = 0
    for _, part in ipairs({one, two, three, four}) do
        score = score + (tonumber(part) or 0)
    end
    malformed = (tonumber(malformed) or 0) ~= 0
    local ids, targets = found(rules, names)
    return malformed and score + MALFORMED_SCORE or score, ids, targets, malformed
end

-- One line of the firewall's log, written by nginx at the end of the request.
local function tell(route, done, reason, more)
    local line = more or {}
    line.time, line.requestId, line.client = ngx.now(), var.coldchain_request_id, var.remote_addr
    line.method, line.host, line.path = var.request_method, var.http_host or "", printable(var.uri)
    line.consumer = var.coldchain_consumer
    line.service, line.route, line.action, line.reason = route.service, route.name, done, reason
    var.coldchain_firewall = cjson.encode(line)
end

local function refuse(firewall, route, status, kind, reason, more)
    local done = firewall.blocks and "blocked" or "detected"
    local labels = route.labels .. ',found="' .. kind .. '",action="' .. done .. '"'
    tallies.add(tallies.key("firewall_findings_total", labels))
    tell(route, done, reason, more)
    if firewall.blocks then
        return status, reason
    end
end

-- Returns status and reason of a refusal, nil when the request goes on.
local function inspect(firewall, route)
    if not firewall.rules then
        return refuse(firewall, route, 503, "missing", MISSING)
    end
    local body, too_long = body_of(firewall.bytes_max)
    if too_long then
        return refuse(firewall, route, 413, "too_much", TOO_LONG)
    end
    local answer = modsecurity.ask(firewall.rules, {
        client = var.remote_addr, client_port = tonumber(var.remote_port),
        server = var.server_addr, port = tonumber(var.server_port),
        uri = var.request_uri, method = var.request_method, version = match(var.server_protocol, "/(.+)$") or "0.9",
        headers = ngx.req.get_headers(0), body = body,
    })
    if answer == MANY then
        return refuse(firewall, route, 413, "too_much", TOO_MANY)
    end
    local score, ids, targets, malformed = judge(answer)
    if score >= firewall.threshold then
        return refuse(firewall, route, 403, "attack", ATTACK, {
            score = score, threshold = firewall.threshold, rules = ids, targets = targets, malformedBody = malformed,
        })
    end
end

-- The firewall that a route's filters ask for, as a policy; nil for none. One that cannot be used is made all the same.
function M.make(filters)
    local wanted = filters.firewall
    if not documents.given(wanted) or wanted.mode == "off" then
        return nil
    end
    local one = {blocks = wanted.mode == "block", threshold = wanted.threshold, bytes_max = wanted.inspectedBytesMax}
    if modsecurity.ready() and not M.problem then
        local done, rules = pcall(rules_of, wanted)
        if done then
            one.rules = rules
        else
            ngx.log(ngx.ERR, "a route's firewall cannot be used: ", rules)
        end
    else
        ngx.log(ngx.ERR, MISSING, ": apt-get install libmodsecurity3 modsecurity-crs, and start the gateway again")
    end
    return function(route)
        return inspect(one, route)
    end
end

return M
