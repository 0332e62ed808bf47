# Makes the files of an installation that are not in the repository as they are installed: from the binary its man pages and its
# completion; the unit and the configuration under their names there; texts compressed as Debian has them.
# usage: cmake -DBINARY= -DSOURCE= -DOUT= -DVERSION= -DEPOCH= -DMAINTAINER= -DBINDIR= -P package_files.cmake
set(ENV{SOURCE_DATE_EPOCH} ${EPOCH})  # also of the manual pages
file(REMOVE_RECURSE ${OUT})
file(MAKE_DIRECTORY ${OUT}/completion)

function(compress from to)
  execute_process(COMMAND gzip -n9 INPUT_FILE ${from} OUTPUT_FILE ${to} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(shell bash:portcullis zsh:_portcullis fish:portcullis.fish)
  string(REPLACE ":" ";" shell ${shell})
  list(GET shell 1 name)
  list(GET shell 0 shell)
  execute_process(COMMAND ${BINARY} completion ${shell} OUTPUT_FILE ${OUT}/completion/${name} COMMAND_ERROR_IS_FATAL ANY)
endforeach()

# A binary that has no such command prints no page.
foreach(page man:1:portcullis.1 man-config:5:portcullis.toml.5)
  string(REPLACE ":" ";" page ${page})
  list(GET page 0 command)
  list(GET page 1 section)
  list(GET page 2 name)
  execute_process(COMMAND ${BINARY} docs ${command} OUTPUT_FILE ${OUT}/page ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0)
    file(MAKE_DIRECTORY ${OUT}/man/man${section})
    compress(${OUT}/page ${OUT}/man/man${section}/${name}.gz)
  endif()
  file(REMOVE ${OUT}/page)
endforeach()

configure_file(${SOURCE}/configs/production.toml ${OUT}/portcullis.toml COPYONLY)
file(READ ${SOURCE}/configs/portcullis.service unit)
string(REPLACE "/usr/bin/" "${BINDIR}/" unit "${unit}")
file(WRITE ${OUT}/portcullis.service "${unit}")
file(WRITE ${OUT}/conffiles 
  "/etc/portcullis/portcullis.toml\n/etc/portcullis/monitoring/thresholds.yaml\n/etc/logrotate.d/portcullis\n")

string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${OUT}/changelog "portcullis (${VERSION}) unstable; urgency=medium\n\n"
  "  * What has changed stands in CHANGELOG.md.gz beside this file.\n\n -- ${MAINTAINER}  ${date}\n")
compress(${OUT}/changelog ${OUT}/changelog.gz)
compress(${SOURCE}/CHANGELOG.md ${OUT}/CHANGELOG.md.gz)
