# Record what lme4 makes of formulas that are spelt in R's way or otherwise.
#
#   Rscript tests/helpers/record_formulas.R        (from the project's root)
#
# writes tests/helpers/reference/formulas.json, or the file named as its argument. Maximum likelihood, because it does not
# depend on how the columns are scaled.

suppressMessages({library(lme4); library(splines); library(jsonlite)})
d <- read.csv("datasets/published/sleepstudy.csv")
more <- function(d) within(d, {
  k <- Days %% 3; t <- c("a", "b", "c")[k + 1]; u <- (7 * Days + Subject) %% 10 + 1; w <- (3 * Subject + Days) %% 5 + 1; flag <- u > 5
})
d <- more(d)
new <- data.frame(Days = c(9, 2), u = c(3, 8), w = c(2, 4), k = c(1, 2), t = c("b", "c"), flag = c(FALSE, TRUE), Subject = c(308, 372))
strict <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))

# as written for fit_lmm, and in R where R spells it otherwise
pairs <- list(
  c("Reaction - u ~ Days"), c("Reaction + u ~ Days"), c("Reaction / 2 ~ Days"), c("(Reaction - 200) / w ~ Days"),
  c("Reaction**2 ~ Days", "Reaction^2 ~ Days"), c("log(Reaction) ~ Days"), c("log(Reaction) - log(u) ~ Days"),
  c("sqrt(Reaction) ~ Days"), c("I(Reaction - u) ~ Days"), c("log(Reaction, 10) ~ Days"), c("scale(Reaction) ~ scale(Days)"),
  c("Reaction ~ offset(u)"), c("Reaction ~ Days + offset(u)"), c("Reaction ~ offset(2 * u) + Days + offset(log(w))"),
  c("Reaction ~ 0 + factor(k) + offset(u)"), c("log(Reaction) ~ Days + offset(log(u)) - 1"),
  c("Reaction ~ C(k, Treatment)", "Reaction ~ factor(k)"), c("Reaction ~ C(k, Treatment())", "Reaction ~ factor(k)"),
  c("Reaction ~ C(k, Treatment(reference=1))", "Reaction ~ relevel(factor(k), '1')"),
  c("Reaction ~ C(k, Treatment(2))", "Reaction ~ relevel(factor(k), '2')"),
  c("Reaction ~ C(k, contr.treatment(base=1))", "Reaction ~ relevel(factor(k), '1')"),
  c("Reaction ~ C(t, Treatment('b'))", "Reaction ~ relevel(factor(t), 'b')"),
  c("Reaction ~ C(k, Sum)", "Reaction ~ C(factor(k), contr.sum)"), c("Reaction ~ C(k, Sum())", "Reaction ~ C(factor(k), contr.sum)"),
  c("Reaction ~ C(k, contr.sum)", "Reaction ~ C(factor(k), contr.sum)"),
  c("Reaction ~ C(k, Helmert)", "Reaction ~ C(factor(k), contr.helmert)"), c("Reaction ~ C(k, Poly)", "Reaction ~ C(factor(k), contr.poly)"),
  c("Reaction ~ C(k, levels=[2, 1, 0])", "Reaction ~ factor(k, levels = c(2, 1, 0))"),
  c("Reaction ~ factor(k)"), c("Reaction ~ as.factor(k) * u"), c("Reaction ~ 0 + factor(k)"), c("Reaction ~ factor(k) - 1"),
  c("Reaction ~ poly(Days, 2)"), c("Reaction ~ poly(Days, 3, raw=TRUE)"), c("Reaction ~ scale(Days)"), c("Reaction ~ scale(Days, scale=FALSE)"),
  c("Reaction ~ center(Days)", "Reaction ~ scale(Days, scale=FALSE)"),
  c("Reaction ~ cr(Days, df=3, constraints='center')", "Reaction ~ ns(Days, df=3)"), c("Reaction ~ bs(Days, df=5)"),
  c("Reaction ~ Days:t"), c("Reaction ~ t*Days"), c("Reaction ~ t/Days"), c("Reaction ~ (Days + u)^2"), c("Reaction ~ (Days + u + w)^2 - Days:u"),
  c("Reaction ~ (t + Days + u)**2", "Reaction ~ (t + Days + u)^2"), c("Reaction ~ t*flag - t:flag"), c("Reaction ~ flag"),
  c("Reaction ~ Days + I(Days**2)", "Reaction ~ Days + I(Days^2)"), c("Reaction ~ I((u - 2) * w)"), c("Reaction ~ I(u > 5)"),
  c("Reaction ~ log(u)"), c("Reaction ~ np.log(u)", "Reaction ~ log(u)"), c("Reaction ~ log(u, 2)"), c("Reaction ~ log1p(Days)"),
  c("Reaction ~ exp(Days / 10)"), c("Reaction ~ sqrt(u):w"), c("Reaction ~ `Days` + `u`"), c("Reaction ~ Q('Days')", "Reaction ~ Days"),
  c("Reaction ~ {u * w}", "Reaction ~ I(u * w)"), c("Reaction ~ 1"), c("Reaction ~ -1 + Days")
)
cases <- lapply(pairs, function(pair) {
  m <- lmer(as.formula(paste(tail(pair, 1), "+ (1 | Subject)")), d, REML = FALSE, control = strict)
  list(formula = pair[1], r = tail(pair, 1), beta = unname(fixef(m)), deviance = deviance(m), fitted = unname(fitted(m)[c(1, 50, 180)]),
       population = unname(predict(m, new, re.form = NA)), group = unname(predict(m, new)))
})
versions <- list(R = paste(R.version$major, R.version$minor, sep = "."), lme4 = as.character(packageVersion("lme4")))
write_json(list(versions = versions, cases = cases), c(commandArgs(TRUE), "tests/helpers/reference/formulas.json")[1],
           digits = 12, auto_unbox = TRUE, pretty = TRUE)
