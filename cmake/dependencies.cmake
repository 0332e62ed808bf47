# Debian's packages, found once. Debian ships no CMake config for CAF, libuv, http-parser and SQLite.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(simdjson REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CAF 0.17.6 REQUIRED)
if(PORTCULLIS_SANITIZE STREQUAL "address+undefined")
  # CAF's headers bind a null reference, never used, when a functor is spawned without arguments (docs/caf.md), and take a
  # queue's end mark for an element without touching it. A null that is used is still found: it faults.
  set_property(TARGET CAF::core APPEND PROPERTY INTERFACE_COMPILE_OPTIONS -fno-sanitize=null,vptr)
endif()
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(SYSTEMD IMPORTED_TARGET libsystemd)

find_path(HTTP_PARSER_INCLUDE_DIR http_parser.h REQUIRED)
find_library(HTTP_PARSER_LIBRARY http_parser REQUIRED)
add_library(http_parser::http_parser UNKNOWN IMPORTED)
set_target_properties(http_parser::http_parser PROPERTIES
  IMPORTED_LOCATION ${HTTP_PARSER_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${HTTP_PARSER_INCLUDE_DIR})

# Not by pkg-config, whose flags would put names like read.h among the includes.
find_path(HIREDIS_INCLUDE_DIR hiredis/hiredis.h REQUIRED)
find_library(HIREDIS_LIBRARY hiredis REQUIRED)
add_library(hiredis::hiredis UNKNOWN IMPORTED)
set_target_properties(hiredis::hiredis PROPERTIES
  IMPORTED_LOCATION ${HIREDIS_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${HIREDIS_INCLUDE_DIR})

# What is compiled into the binary from headers alone, by Debian's package: no library that is linked tells of it (scripts/sbom).
# tests/packaging compares it with the headers that were really read.
set(PORTCULLIS_HEADER_ONLY_PACKAGES libcli11-dev nlohmann-json3-dev)
