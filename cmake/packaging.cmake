# What `cmake --install` puts where, and the Debian package of it (CPack; scripts/package). The places are Debian's; for another
# root than / set DESTDIR, as `DESTDIR=/tmp/stage cmake --install build/release`.
if(NOT PORTCULLIS_SANITIZE STREQUAL "" OR PORTCULLIS_PLANTED OR PORTCULLIS_FUZZ)
  return()
endif()
# The unit, the configuration and the documentation name /usr/bin, /etc and /var. (The preset says so as well, for build folders
# from before this file.)
if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
  set(CMAKE_INSTALL_PREFIX /usr CACHE PATH "Where `cmake --install` puts things" FORCE)
endif()
include(GNUInstallDirs)
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # packaging does not need the tests

# The time of everything in the package: of the commit, unless the environment says otherwise.
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  set(PORTCULLIS_EPOCH $ENV{SOURCE_DATE_EPOCH})
else()
  execute_process(COMMAND git log -1 --format=%ct WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
    OUTPUT_VARIABLE PORTCULLIS_EPOCH OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(PORTCULLIS_EPOCH STREQUAL "")
    set(PORTCULLIS_EPOCH 0)
  endif()
endif()
set(PORTCULLIS_MAINTAINER "Portcullis maintainers <maintainers@portcullis.example>" CACHE STRING "Whom the package names")

# What the binary itself makes (man pages, completion), the bill of materials, compressed texts.
set(package_files ${CMAKE_BINARY_DIR}/package_files)
file(GLOB_RECURSE monitoring_pack CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}
  monitoring/alerts/* monitoring/rules/* monitoring/runbooks/* monitoring/dashboards/* monitoring/provisioning/*)
set(header_only_arguments)
foreach(package ${PORTCULLIS_HEADER_ONLY_PACKAGES})
  list(APPEND header_only_arguments --headers ${package})
endforeach()
add_custom_command(OUTPUT ${package_files}/portcullis.cdx.json
  COMMAND ${CMAKE_COMMAND} -DBINARY=$<TARGET_FILE:portcullis> -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR} -DOUT=${package_files}
    -DVERSION=${PROJECT_VERSION} -DEPOCH=${PORTCULLIS_EPOCH} -DMAINTAINER=${PORTCULLIS_MAINTAINER}
    -DBINDIR=${CMAKE_INSTALL_FULL_BINDIR} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/package_files.cmake
  COMMAND ${CMAKE_COMMAND} -E env SOURCE_DATE_EPOCH=${PORTCULLIS_EPOCH} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/sbom --version ${PROJECT_VERSION}
    --strip ${CMAKE_STRIP} ${header_only_arguments} --out ${package_files}/portcullis.cdx.json $<TARGET_FILE:portcullis>
  DEPENDS portcullis cmake/package_files.cmake scripts/sbom CHANGELOG.md configs/portcullis.service configs/production.toml
  VERBATIM)
add_custom_target(package_files ALL DEPENDS ${package_files}/portcullis.cdx.json)

set(doc ${CMAKE_INSTALL_DATADIR}/doc/portcullis)
install(TARGETS portcullis RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${package_files}/portcullis.toml DESTINATION /etc/portcullis)
install(FILES ${package_files}/portcullis.service DESTINATION lib/systemd/system)
install(FILES configs/debian/sysusers.conf DESTINATION lib/sysusers.d RENAME portcullis.conf)
install(FILES configs/debian/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME portcullis.conf)
install(FILES configs/debian/logrotate DESTINATION /etc/logrotate.d RENAME portcullis)
# Man pages of a binary that can write its own; package_files.cmake.
install(DIRECTORY ${package_files}/man DESTINATION ${CMAKE_INSTALL_DATADIR} OPTIONAL)
install(FILES ${package_files}/completion/portcullis DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${package_files}/completion/_portcullis DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${package_files}/completion/portcullis.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES configs/debian/copyright ${package_files}/changelog.gz ${package_files}/CHANGELOG.md.gz ${package_files}/portcullis.cdx.json
  DESTINATION ${doc})
install(DIRECTORY docs/ DESTINATION ${doc} FILES_MATCHING PATTERN "*.md" PATTERN sample EXCLUDE PATTERN README.md EXCLUDE PATTERN style.md EXCLUDE)
install(DIRECTORY configs/examples/ DESTINATION ${doc}/examples/proxies)
install(DIRECTORY configs/cluster/ DESTINATION ${doc}/examples/cluster)
install(FILES configs/debian/rotate-keys.conf DESTINATION ${doc}/examples)
# The numbers of alerts are an administrator's to change: a conffile, of which /usr/share has no other copy.
list(REMOVE_ITEM monitoring_pack monitoring/rules/thresholds.yaml)
list(FILTER monitoring_pack EXCLUDE REGEX "README\\.md$")  # of the repository's rooms
install(FILES monitoring/rules/thresholds.yaml DESTINATION /etc/portcullis/monitoring)
foreach(file ${monitoring_pack})
  cmake_path(GET file PARENT_PATH folder)
  install(FILES ${file} DESTINATION ${CMAKE_INSTALL_DATADIR}/portcullis/${folder})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME portcullis)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT ${PORTCULLIS_MAINTAINER})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR})
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_SET_DESTDIR ON)  # what goes to /etc
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.51), procps")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "logrotate")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "prometheus, prometheus-alertmanager, redis-server")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "session validation, lockouts and circuit breakers, as a server
An application asks it, for every request that it serves, whether a session
is still this user's, on this device, from this network. It counts failed
attempts and locks out whoever guesses, runs the circuit breakers of a fleet,
and writes every decision that must last to a durable, chained log before it
answers.

One protocol (JSON-RPC 2.0, newline-delimited, over TCP, TLS or HTTP); reverse
proxies ask it over HTTP. Metrics for Prometheus, structured logs and live
subscribers are built in. It needs no other service; several nodes share a
log over Redis.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${package_files}/conffiles ${CMAKE_CURRENT_SOURCE_DIR}/configs/debian/postinst
  ${CMAKE_CURRENT_SOURCE_DIR}/configs/debian/prerm ${CMAKE_CURRENT_SOURCE_DIR}/configs/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/cpack_epoch.cmake CONTENT
  "if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})\n  set(ENV{SOURCE_DATE_EPOCH} @PORTCULLIS_EPOCH@)\nendif()\n" @ONLY)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_BINARY_DIR}/cpack_epoch.cmake)
include(CPack)
