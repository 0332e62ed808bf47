# Finds caf_core only: its networking (caf_io, caf_openssl) is never linked (docs/decisions/0001).
# CAF_ROOT points to another build, as the TSan preset does (scripts/build-caf-tsan): then to that one or to none, for the
# system's would be taken in silence and make TSan cry wolf.
if(CAF_ROOT)
  set(caf_only_there NO_DEFAULT_PATH)
endif()
find_path(CAF_INCLUDE_DIR caf/config.hpp HINTS ${CAF_ROOT} PATH_SUFFIXES include ${caf_only_there})
find_library(CAF_CORE_LIBRARY caf_core HINTS ${CAF_ROOT} PATH_SUFFIXES lib ${caf_only_there})
if(CAF_INCLUDE_DIR)
  file(STRINGS ${CAF_INCLUDE_DIR}/caf/config.hpp version_line REGEX "#define CAF_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+$" version_number "${version_line}")
  math(EXPR major "${version_number} / 10000")
  math(EXPR minor "${version_number} / 100 % 100")
  math(EXPR patch "${version_number} % 100")
  set(CAF_VERSION ${major}.${minor}.${patch})
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CAF REQUIRED_VARS CAF_CORE_LIBRARY CAF_INCLUDE_DIR VERSION_VAR CAF_VERSION)
if(CAF_FOUND AND NOT TARGET CAF::core)
  add_library(CAF::core UNKNOWN IMPORTED)
  set_target_properties(CAF::core PROPERTIES
    IMPORTED_LOCATION ${CAF_CORE_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${CAF_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
