<div class="narrow">
  <h1>Hello, <?= $e($user) ?></h1>
  <p class="lead">This page is yours alone. Its answer says <code>private, no-store</code>, and a session cookie makes the edge cache step aside for every page you see.</p>
  <p class="figure"><b id="visits"><?= $e($visits) ?></b> <?= $visits === 1 ? 'visit' : 'visits' ?> to this page in this session, each counted by PHP.</p>
  <p><a class="button" href="/articles">Write a comment</a></p>
</div>
