<article class="prose">
  <img class="banner" src="/files/styles/thumb/<?= $e($article['slug']) ?>.png" alt="" width="480" height="200">
  <h1><?= $e($article['title']) ?></h1>
  <p class="lead"><?= $e($article['summary']) ?></p>
  <?= $article['body'] ?>
</article>

<section class="comments" aria-labelledby="comments">
  <h2 id="comments">Comments</h2>
<?php if ($comments === []): ?>
  <p class="meta">Nobody has said anything yet.</p>
<?php endif ?>
<?php foreach ($comments as $comment): ?>
  <article class="comment" id="comment-<?= $e($comment['id']) ?>">
    <p class="meta"><b><?= $e($comment['author']) ?></b> · <time class="ago" datetime="<?= gmdate('Y-m-d\TH:i:s\Z', (int) $comment['created']) ?>"><?= gmdate('j F Y H:i', (int) $comment['created']) ?> UTC</time></p>
    <p><?= nl2br($e($comment['body'])) ?></p>
  </article>
<?php endforeach ?>
<?php if ($form === null): ?>
  <p><a href="/login">Log in</a> to say something. Your own pages then come from PHP every time; a copy for everybody else may be a minute old.</p>
<?php else: ?>
  <form class="form" method="post" action="/articles/<?= $e($article['slug']) ?>/comments">
    <input type="hidden" name="token" value="<?= $e($form['token']) ?>">
    <label for="comment">Your comment</label>
    <textarea id="comment" name="comment" rows="4" maxlength="2000" required></textarea>
    <button class="button">Say it</button>
  </form>
<?php endif ?>
</section>
