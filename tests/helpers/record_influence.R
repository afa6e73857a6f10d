# Record what R gives for helpers that go by grouping factor: lme4's fits without single levels, its
# likelihoods of transformed responses, and analyses of variance of balanced nested designs.
#
#   Rscript --vanilla tests/helpers/record_influence.R        (from the project's root)
#
# writes tests/helpers/data/several_stages.csv and tests/helpers/reference/several_influence.json. The tests read both
# without R.

suppressMessages({library(lme4); library(jsonlite)})
here <- "tests/helpers"
set.seed(20261127)
d <- expand.grid(row = 1:2, well = 1:3, plate = 1:4, lab = 1:5)
id <- function(...) as.integer(factor(paste(...)))
d$y <- round(20 + rnorm(5)[d$lab] + rnorm(20)[id(d$lab, d$plate)] * .02 + rnorm(60)[id(d$lab, d$plate, d$well)] + rnorm(nrow(d)), 3)
write.csv(d[, c("lab", "plate", "well", "y")], file.path(here, "data/several_stages.csv"), row.names = FALSE, quote = FALSE)
read <- function(name) {
  published <- file.path("datasets/published", paste0(name, ".csv"))
  d <- read.csv(if (file.exists(published)) published else file.path(here, "data", paste0("several_", name, ".csv")))
  groups <- c("herd", "cow", "day", "rater", "item", "plate", "sample", "batch", "cask", "lab", "well")
  for (v in intersect(names(d), groups)) d[[v]] <- factor(d[[v]])
  d
}
controls <- list(
  lmerControl(optimizer = "nloptwrap", calc.derivs = FALSE,
              optCtrl = list(xtol_abs = 1e-13, ftol_abs = 1e-14, ftol_rel = 0, xtol_rel = 0, maxeval = 1e5)),
  lmerControl(optimizer = "bobyqa", calc.derivs = FALSE, optCtrl = list(rhoend = 1e-10, maxfun = 1e5)))
best <- function(formula, data, reml, w = rep(1, nrow(data))) {
  data$.w <- w
  fits <- lapply(controls, function(control) suppressMessages(suppressWarnings(
    eval(bquote(lmer(.(formula), data, REML = reml, weights = .w, control = control))))))
  fits[[which.min(sapply(fits, function(m) -2 * as.numeric(logLik(m))))]]
}

without <- function(data, formula, by, levels, reml = TRUE, prior = NULL) {
  d <- read(data); f <- as.formula(formula)
  group <- do.call(paste, c(lapply(by, function(v) as.character(d[[v]])), sep = ":"))
  refits <- lapply(levels, function(level) {
    keep <- group != level
    m <- best(f, droplevels(d[keep, ]), reml, if (is.null(prior)) rep(1, sum(keep)) else d[[prior]][keep])
    list(level = level, beta = unname(fixef(m)), log_det = as.numeric(determinant(as.matrix(vcov(m)))$modulus),
         variances = lapply(VarCorr(m), function(v) { v <- as.matrix(v); dimnames(v) <- NULL; attributes(v) <- list(dim = dim(v)); v }),
         sigma = sigma(m))
  })
  m <- best(f, d, reml, if (is.null(prior)) rep(1, nrow(d)) else d[[prior]])
  list(data = data, formula = formula, by = paste(by, collapse = ":"), reml = reml, weights = prior,
       beta = unname(fixef(m)), vcov = as.matrix(vcov(m)), refits = refits)
}
powers <- function(data, formula, response, lambdas) {
  d <- read(data); y <- d[[response]]
  llf <- sapply(lambdas, function(l) {
    d$.z <- if (l == 0) log(y) else (y^l - 1) / l
    f <- as.formula(sub(paste0("^", response), ".z", formula))
    as.numeric(logLik(best(f, d, FALSE))) + (l - 1) * sum(log(y))
  })
  list(data = data, formula = formula, lambdas = lambdas, llf = llf)
}
table_of <- function(data, formula) {
  strata <- summary(aov(as.formula(formula), read(data)))
  rows <- lapply(strata, function(s) as.list(s[[1]]["Residuals", c("Df", "Sum Sq", "Mean Sq")]))
  list(data = data, df = unname(sapply(rows, `[[`, "Df")), sum_sq = unname(sapply(rows, `[[`, "Sum Sq")),
       mean_sq = unname(sapply(rows, `[[`, "Mean Sq")))
}
write_json(list(
  versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4"))),
  influence = list(
    without("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "sample", LETTERS[1:6]),
    without("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "plate", c("a", "g", "x")),
    without("pastes", "strength ~ 1 + (1 | batch/cask)", "batch", c("A", "D", "J")),
    without("pastes", "strength ~ 1 + (1 | batch/cask)", c("batch", "cask"), c("A:a", "D:b", "J:c"), reml = FALSE),
    without("herds", "y ~ x + z + (1 + x | herd) + (1 | herd:cow)", "herd", c("1", "6", "12")),
    without("herds", "y ~ x + z + (1 | herd/cow) + (1 | day)", "day", c("a", "i"), prior = "w"),
    without("raters", "y ~ x + f + (1 | rater) + (1 | item)", "item", c("1", "9"))),
  boxcox = list(
    powers("pastes", "strength ~ 1 + (1 | batch/cask)", "strength", c(-1, 0, .5, 1, 2)),
    powers("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "diameter", c(-1, 0, .5, 1, 2))),
  anova = list(
    table_of("pastes", "strength ~ 1 + Error(batch/cask)"),
    table_of("stages", "y ~ 1 + Error(lab/plate/well)"))),
  file.path(here, "reference/several_influence.json"), digits = NA, auto_unbox = TRUE, null = "null")
