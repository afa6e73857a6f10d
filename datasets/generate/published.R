# Exports the published data sets of the handbook from the R packages that ship them.
# Run from the repository: Rscript datasets/generate/published.R [folder]
arguments <- commandArgs(trailingOnly = TRUE)
folder <- if (length(arguments)) arguments[1] else file.path("datasets", "published")

from_package <- function(name, package) {
  env <- new.env()
  data(list = name, package = package, envir = env)
  as.data.frame(env[[name]])
}

# Rows and values as published; numbers with 15 digits, so that reading them back loses nothing.
export <- function(frame, name) {
  numeric <- vapply(frame, is.numeric, TRUE)
  frame[numeric] <- lapply(frame[numeric], format, digits = 15, trim = TRUE,
                           drop0trailing = TRUE, scientific = FALSE)
  connection <- file(file.path(folder, paste0(name, ".csv")), open = "wb")
  on.exit(close(connection))
  write.csv(frame, connection, row.names = FALSE, quote = FALSE, eol = "\n")
}

for (name in c("sleepstudy", "Dyestuff", "Dyestuff2", "Pastes", "Penicillin"))
  export(from_package(name, "lme4"), tolower(name))
for (name in c("Rail", "Orthodont", "Milk"))
  export(from_package(name, "nlme"), tolower(name))

# A part of InstEval, small enough to be read at once: the departments whose students rated nine or
# more lecturers of the department each, on average. All their rows are kept.
evaluations <- from_package("InstEval", "lme4")
each <- tapply(as.character(evaluations$s), evaluations$dept,
               function(s) length(s) / length(unique(s)))
export(evaluations[evaluations$dept %in% names(each)[each >= 9], ], "insteval")
