<section class="probe" aria-labelledby="probe-title" data-probe>
  <h2 id="probe-title">How the cache answers, now</h2>
  <p>Each cell is one answer. Ask for a page, and see who gave it: the cache from its memory, or PHP.</p>
  <div class="controls">
    <label>Page
      <select data-probe-page>
        <option value="/articles">the list of articles (kept for a minute)</option>
        <option value="/slow?ms=800&amp;cache=10">a page that takes 800 ms (kept for 10 seconds)</option>
        <option value="/assets/site.js">a static file</option>
        <option value="/whoami">a page that may not be kept</option>
      </select>
    </label>
    <button class="button" type="button" data-probe-ask="1">Ask</button>
    <button class="button quiet" type="button" data-probe-ask="20">Ask 20 times</button>
    <button class="button quiet" type="button" data-probe-fresh>Ask for something new</button>
  </div>
  <div class="cells" data-probe-cells aria-hidden="true"></div>
  <div class="scroll">
    <table>
      <thead><tr><th scope="col">Answer</th><th scope="col">Took</th><th scope="col">Age</th><th scope="col">Cache-Status</th></tr></thead>
      <tbody data-probe-rows aria-live="polite"><tr><td colspan="4">Nothing asked yet. This needs JavaScript.</td></tr></tbody>
    </table>
  </div>
</section>
