// Commands that a shell runs to their end, and what they said.
#pragma once
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace portcullis::apps {

struct ran {
  int status = -1;
  std::string out;  // and standard error
};

inline ran shell(const std::string& command) {
  ran result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> block;
  for (std::size_t got = 0; (got = fread(block.data(), 1, block.size(), pipe)) > 0;)
    result.out.append(block.data(), got);
  const int status = pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

/// The binary; `before` stands before it on the line.
inline ran run(const std::string& arguments, const std::string& before = "") {
  return shell(before + " " + PORTCULLIS_BINARY + " " + arguments);
}

}  // namespace portcullis::apps
