<h1>Laboratory</h1>
<p class="lead">Everything that is hard for what stands in front of PHP, one button each. The numbers may be changed in the address.</p>
<ul class="cards experiments">
  <li class="card" data-experiment="/slow?ms=1500">
    <h3>Slow</h3>
    <p>PHP sleeps for 1.5 seconds. Nobody else should notice.</p>
    <button class="button quiet" type="button">Wait for it</button><pre hidden></pre>
    <p class="meta"><a href="/slow?ms=1500&amp;cache=30">The same, kept for 30 seconds</a></p>
  </li>
  <li class="card" data-experiment="/stream?chunks=8&amp;ms=250">
    <h3>Streamed</h3>
    <p>Eight lines, one every quarter of a second. They should arrive one by one, not all at the end.</p>
    <button class="button quiet" type="button">Watch them</button><pre hidden></pre>
  </li>
  <li class="card" data-experiment="/finish?ms=1500">
    <h3>Busy afterwards</h3>
    <p>The answer is complete at once, the worker is not: it goes on for 1.5 seconds, and must be counted as busy.</p>
    <button class="button quiet" type="button">Ask</button><pre hidden></pre>
  </li>
  <li class="card">
    <h3>Large, downwards</h3>
    <p>100 MiB of a pattern that can be checked, made by PHP while it is sent.</p>
    <a class="button quiet" href="/download?mb=100">Download</a>
  </li>
  <li class="card">
    <h3>Large, upwards</h3>
    <p>A file of your own; the answer is its size and its SHA-256.</p>
    <a class="button quiet" href="/upload">Upload</a>
  </li>
  <li class="card">
    <h3>Broken</h3>
    <p>A page that fails, and one that never was.</p>
    <a class="button quiet" href="/error">Fail</a> <a class="button quiet" href="/no/such/page">Go missing</a>
  </li>
</ul>
<?= $part('probe') ?>
