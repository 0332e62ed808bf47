// A page of metrics as a scraper reads it.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "monitoring/metrics.hpp"

namespace portcullis::monitoring {

/// Every sample of a page by its name and labels.
inline std::map<std::string, double> samples(const std::string& page) {
  std::map<std::string, double> found;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    const auto space = line.rfind(' ');
    found[line.substr(0, space)] = std::strtod(line.c_str() + space + 1, nullptr);
  }
  return found;
}

inline double sample(const metrics& of, const std::string& series) {
  const auto all = samples(of.render());
  const auto at = all.find(series);
  EXPECT_NE(at, all.end()) << series;
  return at == all.end() ? -1 : at->second;
}

inline bool has_promtool() { return access("/usr/bin/promtool", X_OK) == 0; }

/// What `promtool check metrics` has to say of a page; how it ended, where not well.
inline std::string promtool_says(const std::string& page) {
  const std::string path = testing::TempDir() + "portcullis_metrics_" + std::to_string(getpid());
  std::ofstream(path) << page;
  std::string said;
  FILE* tool = popen(("/usr/bin/promtool check metrics < " + path + " 2>&1").c_str(), "r");
  if (tool == nullptr) return "it did not start";
  char piece[256];
  while (fgets(piece, sizeof piece, tool) != nullptr) said += piece;
  const int status = pclose(tool);
  unlink(path.c_str());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) said += "it ended with an error";
  return said;
}

}  // namespace portcullis::monitoring
