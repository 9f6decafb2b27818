-- Each URL once: /b/SIZE/RUN-N. Environment: RUN, SIZE.
dofile(os.getenv("REPORT"))
local prefix, n = "/b/" .. os.getenv("SIZE") .. "/" .. os.getenv("RUN") .. "-", 0
function request()
   n = n + 1
   return wrk.format("GET", prefix .. n)
end
