# Manual pages are installed; the rest of the documentation goes with the sources.

dist_man_MANS += doc/filedup.conf.5 doc/filedupd.8
dist_doc_DATA = NEWS README.md doc/architecture.md doc/glossary.md
