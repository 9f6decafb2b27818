<div class="narrow">
  <p class="figure"><b><?= $e($status) ?></b></p>
  <h1><?= $e($title) ?></h1>
  <p class="lead"><?= $e($text) ?></p>
  <p><a class="button" href="/">Back to the hive</a></p>
</div>
