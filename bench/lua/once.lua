-- Each target once: PREFIX and a number. Environment: PREFIX.
dofile(os.getenv("REPORT"))
local prefix, n = os.getenv("PREFIX"), 0
function request()
   n = n + 1
   return wrk.format("GET", prefix .. n)
end
