# What the shipped binary is compiled and linked with beside optimisation, and what makes two builds of a commit the same bytes.
# tests/packaging looks for each of it in the binary; docs/decisions/0025 says what it was seen to cost.

# Archives without the time and the owner of what is in them, whatever binutils was configured with.
foreach(language C CXX)
  set(CMAKE_${language}_ARCHIVE_CREATE "<CMAKE_AR> qcD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_APPEND "<CMAKE_AR> qD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "<CMAKE_RANLIB> -D <TARGET>")
endforeach()
# portcullis_hardened(TARGET): not under sanitizers, which look at the same places in their own way, nor in the builds of
# tests' bugs and fuzzing.
function(portcullis_hardened target)
  if(NOT PORTCULLIS_SANITIZE STREQUAL "" OR PORTCULLIS_PLANTED OR PORTCULLIS_FUZZ)
    return()
  endif()
  # No path of the machine that builds, neither in texts (__FILE__) nor in debug information; and no date.
  target_compile_options(${target} PRIVATE -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -Werror=date-time)
  cmake_path(IS_PREFIX PROJECT_SOURCE_DIR ${PROJECT_BINARY_DIR} NORMALIZE binary_dir_within)
  if(NOT binary_dir_within)
    target_compile_options(${target} PRIVATE -ffile-prefix-map=${PROJECT_BINARY_DIR}=./build)
  endif()
  target_compile_options(${target} PRIVATE -fPIE -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
    target_compile_options(${target} PRIVATE -fcf-protection=full)
  endif()
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    target_link_options(${target} PRIVATE -pie -Wl,-z,relro,-z,now,-z,noexecstack,--build-id=sha1)
  endif()
endfunction()
