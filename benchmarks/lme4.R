# Time lme4 on one data set: Rscript lme4.R folder formula control repetitions
args <- commandArgs(TRUE)
suppressMessages(library(lme4))
column <- function(name, what, size) {
  path <- file.path(args[1], name)
  readBin(path, what, file.size(path) / size, size)
}
data <- data.frame(y = column("y", "double", 8), x = column("x", "double", 8),
                   g = factor(column("g", "integer", 4)))
control <- if (args[3] == "default") lmerControl() else
  lmerControl(calc.derivs = FALSE, optimizer = "nloptwrap")
formula <- as.formula(args[2])
resident <- function(field) {
  line <- grep(field, readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}
invisible(suppressWarnings(suppressMessages(lmer(formula, data[data$g %in% levels(data$g)[1:20], ]))))
invisible(gc())
try(writeLines("5", "/proc/self/clear_refs"), silent = TRUE)  # forget the peak so far
before <- resident("VmRSS")
clock <- function(expression) {
  start <- as.numeric(Sys.time())  # microseconds; system.time() has only milliseconds
  force(expression)
  as.numeric(Sys.time()) - start
}
seconds <- numeric(0)
for (k in seq_len(as.integer(args[4])))
  seconds <- c(seconds, clock(m <- suppressWarnings(suppressMessages(
    lmer(formula, data, control = control)))))
cat(sprintf('{"seconds": [%s], "megabytes": %.1f, "criterion": %.10f, "version": "%s"}\n',
            paste(sprintf("%.6f", seconds), collapse = ", "), resident("VmHWM") - before,
            -2 * as.numeric(logLik(m)), packageVersion("lme4")))
