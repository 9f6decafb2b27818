<ul class="cards">
<?php foreach ($articles as $article): ?>
  <li class="card">
    <img src="/files/styles/thumb/<?= $e($article['slug']) ?>.png" alt="" width="480" height="200">
    <h3><a href="/articles/<?= $e($article['slug']) ?>"><?= $e($article['title']) ?></a></h3>
    <p><?= $e($article['summary']) ?></p>
    <p class="meta"><?= $article['comments'] == 0 ? 'No comments yet' : ($article['comments'] == 1 ? '1 comment' : $e($article['comments']) . ' comments') ?></p>
  </li>
<?php endforeach ?>
</ul>
