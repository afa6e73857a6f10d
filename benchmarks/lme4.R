# Time lme4 on one data set: Rscript lme4.R folder formula warm-up control repetitions
args <- commandArgs(TRUE)
suppressMessages(library(lme4))
data <- as.data.frame(sapply(list.files(args[1]), function(name) {
  path <- file.path(args[1], name)
  if (name %in% c("x", "y")) readBin(path, "double", file.size(path) / 8, 8) else
    readBin(path, "integer", file.size(path) / 4, 4)
}, simplify = FALSE))
first <- with(data, eval(parse(text = gsub(",", "&", args[3]))))
for (v in setdiff(names(data), c("x", "y"))) data[[v]] <- factor(data[[v]])
control <- if (args[4] == "default") lmerControl() else
  lmerControl(calc.derivs = FALSE, optimizer = "nloptwrap")
formula <- as.formula(args[2])
resident <- function(field) {
  line <- grep(field, readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}
invisible(suppressWarnings(suppressMessages(lmer(formula, droplevels(data[first, ])))))
invisible(gc())
try(writeLines("5", "/proc/self/clear_refs"), silent = TRUE)  # forget the peak so far
before <- resident("VmRSS")
clock <- function(expression) {
  start <- as.numeric(Sys.time())  # microseconds; system.time() has only milliseconds
  cpu <- sum(proc.time()[1:2])
  force(expression)
  c(as.numeric(Sys.time()) - start, sum(proc.time()[1:2]) - cpu)
}
times <- NULL
for (k in seq_len(as.integer(args[5])))
  times <- cbind(times, clock(m <- suppressWarnings(suppressMessages(
    lmer(formula, data, control = control)))))
cat(sprintf('{"seconds": [%s], "cpu": [%s], "megabytes": %.1f, "criterion": %.10f, "version": "%s"}\n',
            paste(sprintf("%.6f", times[1, ]), collapse = ", "), paste(sprintf("%.3f", times[2, ]), collapse = ", "), resident("VmHWM") - before,
            -2 * as.numeric(logLik(m)), packageVersion("lme4")))
