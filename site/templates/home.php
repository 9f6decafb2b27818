<section class="hero">
  <div>
    <p class="eyebrow">edge cache · web proxy · FastCGI balancer</p>
    <h1>A PHP site that keeps answering</h1>
    <p class="lead">Enjambre is Spanish for swarm. Three small services take the front half of a PHP site: each does one thing, each can be one of many, and none is missed when it goes.</p>
    <p class="actions"><a class="button" href="/articles">Read how it works</a> <a class="button quiet" href="/lab">Try to break it</a></p>
  </div>
  <img class="mark" src="/assets/logo.svg" alt="A swarm of hexagons that fly as one" width="360" height="360">
</section>

<section aria-labelledby="chain">
  <h2 id="chain">The way of a request</h2>
  <ol class="chain">
    <li><b>Browser</b><span>asks</span></li>
    <li class="ours"><b>edge-cache</b><span>remembers answers in memory</span></li>
    <li class="ours"><b>web-proxy</b><span>serves files, speaks FastCGI</span></li>
    <li class="ours"><b>fpm-gateway</b><span>finds a free worker, or makes you wait your turn</span></li>
    <li><b>PHP-FPM</b><span>makes the page</span></li>
    <li><b>MariaDB · memcached</b><span>know what is true</span></li>
  </ol>
</section>

<?= $part('probe') ?>

<section aria-labelledby="reading">
  <h2 id="reading">To read</h2>
  <?= $part('cards', ['articles' => $articles]) ?>
</section>
