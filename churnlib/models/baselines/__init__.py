"""Models that are no networks, fitted in one go on the same rows: what every network has to beat.

A recipe (``LightGBM(num_leaves=31)``) is fitted on rows and gives a fitted baseline, which answers without the recipe
and is kept in a bundle without pickle: scikit-learn's models as arrays that numpy evaluates, the others in their
libraries' own text or JSON.
"""

BASELINES = {
    "logistic": "churnlib.models.baselines.linear.LogisticRegression",
    "linear_svm": "churnlib.models.baselines.linear.LinearSVM",
    "rbf_svm": "churnlib.models.baselines.kernel.RBFSVM",
    "random_forest": "churnlib.models.baselines.forest.RandomForest",
    "hist_gradient_boosting": "churnlib.models.baselines.hist_gradient_boosting.HistGradientBoosting",
    "lightgbm": "churnlib.models.baselines.lightgbm.LightGBM",
    "xgboost": "churnlib.models.baselines.xgboost.XGBoost",
    "catboost": "churnlib.models.baselines.catboost.CatBoost",
}
"""Short names of the baselines that come with churnlib."""
