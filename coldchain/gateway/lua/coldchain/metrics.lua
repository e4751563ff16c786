-- The gateway's numbers in Prometheus's text form: by service, version and instance what traffic.lua has on record and what is
-- open now, and of the gateway itself what the caller hands over.

local limits = require "coldchain.limits"
local rotation = require "coldchain.rotation"
local tallies = require "coldchain.tallies"
local traffic = require "coldchain.traffic"

local format, match = string.format, string.match
local quoted = tallies.quoted

local M = {}

local PREFIX = "coldchain_gateway_"
local STATUSES = {"1xx", "2xx", "3xx", "4xx", "5xx"}
STATUSES[traffic.UNANSWERED], STATUSES[traffic.CONSUMER_LEFT] = "unanswered", "consumer_left"

local function head(name, kind, help)
    ngx.print("# HELP ", PREFIX, name, " ", help, "\n# TYPE ", PREFIX, name, " ", kind, "\n")
end

-- Lines of one family stand together, as the form demands. lines(labels, service, instance) returns the samples of an
-- endpoint as text.
local function family(name, kind, help, lines)
    head(name, kind, help)
    traffic.each_endpoint(rotation.services, function(service, instance)
        local listed = rotation.services[service]
        local counter = listed and listed.counters[instance]
        local labels = "service=" .. quoted(service) .. ",version=" .. quoted(counter and counter.version or "")
        ngx.print(lines(labels .. ",instance=" .. quoted(instance), service, instance))
    end)
end

local function requests(labels, service, instance)
    local record, lines = traffic.record(service, instance), {}
    for place, status in ipairs(STATUSES) do
        if record and record[place] > 0 then
            lines[#lines + 1] = format('%srequests_total{%s,status="%s"} %.0f\n', PREFIX, labels, status, record[place])
        end
    end
    return lines
end

local function errors(labels, service, instance)
    local record = traffic.record(service, instance)
    return format("%serrors_total{%s} %.0f\n", PREFIX, labels, record and record[traffic.ERRORS] or 0)
end

local function latencies(labels, service, instance)
    local record = traffic.record(service, instance)
    if not record then
        return ""
    end
    local lines, sum = {}, 0
    for class = 1, #traffic.bounds + 1 do
        sum = sum + record[traffic.LATENCIES + class]
        lines[class] = format('%slatency_seconds_bucket{%s,le="%s"} %.0f\n',
            PREFIX, labels, traffic.bounds[class] or "+Inf", sum)
    end
    lines[#lines + 1] = format("%slatency_seconds_sum{%s} %.3f\n%slatency_seconds_count{%s} %.0f\n",
        PREFIX, labels, record[traffic.SECONDS], PREFIX, labels, sum)
    return lines
end

-- Of services and limits that are gone nothing is said any more.
local function tallied(keys, name, help, stands)
    head(name, "counter", help)
    ngx.print(tallies.lines(keys[name], PREFIX, stands))
end

local function of_a_service(line)
    local service = match(line, '[{,]service="([^"]*)"')
    return service == "" or rotation.services[service] ~= nil
end

local function of_an_instance(line)
    local service, instance = match(line, '{service="([^"]*)",instance="([^"]*)"}$')
    return service and rotation.services[service] ~= nil and rotation.services[service].counters[instance] ~= nil
end

local function limit_lines(name, help, field)
    head(name, "gauge", help)
    for key, one in pairs(limits.use(rotation.domains)) do
        if not one.rate and one.single or field == "share" then
            ngx.print(format("%s%s{limit=%s} %.17g\n", PREFIX, name, quoted(key), one[field]))
        end
    end
end

local function policies()
    local keys = tallies.keys()
    tallied(keys, "ejections_total", "Times that a worker left the instance alone for a while.", of_an_instance)
    tallied(keys, "streams_cut_total", "Streams that were ended because the instance or the gateway leaves.", of_a_service)
    tallied(keys, "route_requests_total", "Requests of the route, by status class of what the consumer got.", of_a_service)
    tallied(keys, "refusals_total", "Requests that the gateway answered itself, by the reason.", of_a_service)
    tallied(keys, "firewall_findings_total", "Requests that a firewall refused, or would have.", of_a_service)
    local lines = limits.lines(rotation.domains)
    tallied(keys, "limit_requests_total", "Requests that a limit let pass or refused.", function(line)
        return lines[line]
    end)
    limit_lines("limit_share", "The part of the limit that is this gateway's.", "share")
    limit_lines("limit_open", "Requests that are open now under a limit of concurrency.", "held")
    limit_lines("limit_waiting", "Requests that wait for others to end.", "waiting")
end

-- `gauges`: list of {name, help, value} of the gateway itself; `open` requests and `ejected` by service and instance.
function M.print(gauges, open, ejected)
    for _, gauge in ipairs(gauges) do
        head(gauge[1], "gauge", gauge[2])
        ngx.print(format("%s%s %.17g\n", PREFIX, gauge[1], gauge[3]))
    end
    family("in_flight", "gauge", "Open requests at the instance.", function(labels, service, instance)
        return format("%sin_flight{%s} %.0f\n", PREFIX, labels, (open[service] or {})[instance] or 0)
    end)
    family("requests_total", "counter", "Requests sent to the instance, by status class of its answer.", requests)
    family("errors_total", "counter", "Answers with a status from 500, and requests that it did not answer.", errors)
    family("latency_seconds", "histogram", "From the request sent to the instance to its whole answer.", latencies)
    family("ejected", "gauge", "Workers that leave the instance alone.", function(labels, service, instance)
        return format("%sejected{%s} %.0f\n", PREFIX, labels, (ejected[service] or {})[instance] or 0)
    end)
    policies()
end

return M
