# How our own targets are compiled. Third-party headers are SYSTEM and keep their warnings to themselves.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_program(MOLD mold)
find_program(LLD ld.lld)
if(MOLD)
  add_link_options(-fuse-ld=mold)
elseif(LLD)
  add_link_options(-fuse-ld=lld)
endif()

if(PORTCULLIS_SANITIZE STREQUAL "address+undefined")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(PORTCULLIS_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(NOT PORTCULLIS_SANITIZE STREQUAL "")
  message(FATAL_ERROR "PORTCULLIS_SANITIZE must be empty, address+undefined or thread")
endif()

# Most of a clean build is parsing headers. With it, for builds that happen once and without a compiler cache, files that stand
# together are one to the compiler; else each is compiled alone: little is compiled after a change, and a missing include is seen.
# Not warned of: what a file shadows of another, and members of a type of the file's own, as if it stood in a header.
option(PORTCULLIS_UNITY "compile files that stand together as one" OFF)
function(portcullis_unity target)
  if(PORTCULLIS_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON ${ARGN})
    target_compile_options(${target} PRIVATE -Wno-shadow $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
endfunction()

# portcullis_units(TARGET LIST...): each LIST of a room's files is one to the compiler, the others stay alone.
function(portcullis_units target)
  foreach(unit ${ARGN})
    set_source_files_properties(${${unit}} PROPERTIES UNITY_GROUP ${unit})
  endforeach()
  portcullis_unity(${target} UNITY_BUILD_MODE GROUP)
endfunction()

# portcullis_room(NAME SOURCES... ): one library target a room, named portcullis_<room>.
function(portcullis_room name)
  add_library(portcullis_${name} STATIC ${ARGN})
  add_library(portcullis::${name} ALIAS portcullis_${name})
  target_include_directories(portcullis_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  portcullis_warnings(portcullis_${name})
  portcullis_hardened(portcullis_${name})
endfunction()

function(portcullis_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Werror)
endfunction()
