-- URLs in the order of a file of numbers, one a line: /b/SIZE/N. Environment: SAMPLES, SIZE.
dofile(os.getenv("REPORT"))
local requests, n = {}, 0
function init(args)
   local prefix = "/b/" .. os.getenv("SIZE") .. "/"
   local known = {}
   for id in io.lines(os.getenv("SAMPLES")) do
      local text = known[id]
      if not text then
         text = wrk.format("GET", prefix .. id)
         known[id] = text
      end
      requests[#requests + 1] = text
   end
end
function request()
   n = n % #requests + 1
   return requests[n]
end
