-- Targets in the order of a file, one a line, over and over. Environment: SAMPLES.
dofile(os.getenv("REPORT"))
local requests, n = {}, 0
function init(args)
   local known = {}
   for target in io.lines(os.getenv("SAMPLES")) do
      local text = known[target]
      if not text then
         text = wrk.format("GET", target)
         known[target] = text
      end
      requests[#requests + 1] = text
   end
end
function request()
   n = n % #requests + 1
   return requests[n]
end
