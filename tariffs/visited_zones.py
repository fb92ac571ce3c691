"""Which clock counts: that of the account, of a named zone, or of the country that the user is in.

A country has one clock here, that of its capital where clocks of it show different times: a network says its country,
not where in it the user is.
"""

from __future__ import annotations

from typing import Final

from tariffs.inputs import Inputs

ACCOUNT_ZONE: Final = "account"
VISITED_ZONE: Final = "visited"
CLOCKS: Final = (ACCOUNT_ZONE, VISITED_ZONE)
"""What stands in the place of the name of a zone, and depends on who uses the tariff, and where."""

MCC_DIGITS: Final = 3
NETWORK_DIGITS: Final = (5, 6)
"""Of MCC and MNC, one after the other."""

# Mobile country codes (ITU-T E.212), the country by its letters (ISO 3166), its zone. Codes that no country has, such
# as 901 of ships and aeroplanes, are not here.
_COUNTRIES: Final = """
202 GR Europe/Athens
204 NL Europe/Amsterdam
206 BE Europe/Brussels
208 FR Europe/Paris
212 MC Europe/Monaco
213 AD Europe/Andorra
214 ES Europe/Madrid
216 HU Europe/Budapest
218 BA Europe/Sarajevo
219 HR Europe/Zagreb
220 RS Europe/Belgrade
221 XK Europe/Belgrade
222 IT Europe/Rome
225 VA Europe/Vatican
226 RO Europe/Bucharest
228 CH Europe/Zurich
230 CZ Europe/Prague
231 SK Europe/Bratislava
232 AT Europe/Vienna
234 235 GB Europe/London
238 DK Europe/Copenhagen
240 SE Europe/Stockholm
242 NO Europe/Oslo
244 FI Europe/Helsinki
246 LT Europe/Vilnius
247 LV Europe/Riga
248 EE Europe/Tallinn
250 RU Europe/Moscow
255 UA Europe/Kyiv
257 BY Europe/Minsk
259 MD Europe/Chisinau
260 PL Europe/Warsaw
262 DE Europe/Berlin
266 GI Europe/Gibraltar
268 PT Europe/Lisbon
270 LU Europe/Luxembourg
272 IE Europe/Dublin
274 IS Atlantic/Reykjavik
276 AL Europe/Tirane
278 MT Europe/Malta
280 CY Asia/Nicosia
282 GE Asia/Tbilisi
283 AM Asia/Yerevan
284 BG Europe/Sofia
286 TR Europe/Istanbul
288 FO Atlantic/Faroe
290 GL America/Nuuk
292 SM Europe/San_Marino
293 SI Europe/Ljubljana
294 MK Europe/Skopje
295 LI Europe/Vaduz
297 ME Europe/Podgorica
302 CA America/Toronto
308 PM America/Miquelon
310 311 312 313 314 315 316 US America/New_York
330 PR America/Puerto_Rico
332 VI America/St_Thomas
334 MX America/Mexico_City
338 JM America/Jamaica
340 GP America/Guadeloupe
342 BB America/Barbados
344 AG America/Antigua
346 KY America/Cayman
348 VG America/Tortola
350 BM Atlantic/Bermuda
352 GD America/Grenada
354 MS America/Montserrat
356 KN America/St_Kitts
358 LC America/St_Lucia
360 VC America/St_Vincent
362 CW America/Curacao
363 AW America/Aruba
364 BS America/Nassau
365 AI America/Anguilla
366 DM America/Dominica
368 CU America/Havana
370 DO America/Santo_Domingo
372 HT America/Port-au-Prince
374 TT America/Port_of_Spain
376 TC America/Grand_Turk
400 AZ Asia/Baku
401 KZ Asia/Almaty
402 BT Asia/Thimphu
404 405 406 IN Asia/Kolkata
410 PK Asia/Karachi
412 AF Asia/Kabul
413 LK Asia/Colombo
414 MM Asia/Yangon
415 LB Asia/Beirut
416 JO Asia/Amman
417 SY Asia/Damascus
418 IQ Asia/Baghdad
419 KW Asia/Kuwait
420 SA Asia/Riyadh
421 YE Asia/Aden
422 OM Asia/Muscat
424 430 431 AE Asia/Dubai
425 IL Asia/Jerusalem
426 BH Asia/Bahrain
427 QA Asia/Qatar
428 MN Asia/Ulaanbaatar
429 NP Asia/Kathmandu
432 IR Asia/Tehran
434 UZ Asia/Tashkent
436 TJ Asia/Dushanbe
437 KG Asia/Bishkek
438 TM Asia/Ashgabat
440 441 JP Asia/Tokyo
450 KR Asia/Seoul
452 VN Asia/Ho_Chi_Minh
454 HK Asia/Hong_Kong
455 MO Asia/Macau
456 KH Asia/Phnom_Penh
457 LA Asia/Vientiane
460 461 CN Asia/Shanghai
466 TW Asia/Taipei
467 KP Asia/Pyongyang
470 BD Asia/Dhaka
472 MV Indian/Maldives
502 MY Asia/Kuala_Lumpur
505 AU Australia/Sydney
510 ID Asia/Jakarta
514 TL Asia/Dili
515 PH Asia/Manila
520 TH Asia/Bangkok
525 SG Asia/Singapore
528 BN Asia/Brunei
530 NZ Pacific/Auckland
534 MP Pacific/Saipan
535 GU Pacific/Guam
536 NR Pacific/Nauru
537 PG Pacific/Port_Moresby
539 TO Pacific/Tongatapu
540 SB Pacific/Guadalcanal
541 VU Pacific/Efate
542 FJ Pacific/Fiji
543 WF Pacific/Wallis
544 AS Pacific/Pago_Pago
545 KI Pacific/Tarawa
546 NC Pacific/Noumea
547 PF Pacific/Tahiti
548 CK Pacific/Rarotonga
549 WS Pacific/Apia
550 FM Pacific/Pohnpei
551 MH Pacific/Majuro
552 PW Pacific/Palau
553 TV Pacific/Funafuti
554 TK Pacific/Fakaofo
555 NU Pacific/Niue
602 EG Africa/Cairo
603 DZ Africa/Algiers
604 MA Africa/Casablanca
605 TN Africa/Tunis
606 LY Africa/Tripoli
607 GM Africa/Banjul
608 SN Africa/Dakar
609 MR Africa/Nouakchott
610 ML Africa/Bamako
611 GN Africa/Conakry
612 CI Africa/Abidjan
613 BF Africa/Ouagadougou
614 NE Africa/Niamey
615 TG Africa/Lome
616 BJ Africa/Porto-Novo
617 MU Indian/Mauritius
618 LR Africa/Monrovia
619 SL Africa/Freetown
620 GH Africa/Accra
621 NG Africa/Lagos
622 TD Africa/Ndjamena
623 CF Africa/Bangui
624 CM Africa/Douala
625 CV Atlantic/Cape_Verde
626 ST Africa/Sao_Tome
627 GQ Africa/Malabo
628 GA Africa/Libreville
629 CG Africa/Brazzaville
630 CD Africa/Kinshasa
631 AO Africa/Luanda
632 GW Africa/Bissau
633 SC Indian/Mahe
634 SD Africa/Khartoum
635 RW Africa/Kigali
636 ET Africa/Addis_Ababa
637 SO Africa/Mogadishu
638 DJ Africa/Djibouti
639 KE Africa/Nairobi
640 TZ Africa/Dar_es_Salaam
641 UG Africa/Kampala
642 BI Africa/Bujumbura
643 MZ Africa/Maputo
645 ZM Africa/Lusaka
646 MG Indian/Antananarivo
647 RE Indian/Reunion
648 ZW Africa/Harare
649 NA Africa/Windhoek
650 MW Africa/Blantyre
651 LS Africa/Maseru
652 BW Africa/Gaborone
653 SZ Africa/Mbabane
654 KM Indian/Comoro
655 ZA Africa/Johannesburg
657 ER Africa/Asmara
658 SH Atlantic/St_Helena
659 SS Africa/Juba
702 BZ America/Belize
704 GT America/Guatemala
706 SV America/El_Salvador
708 HN America/Tegucigalpa
710 NI America/Managua
712 CR America/Costa_Rica
714 PA America/Panama
716 PE America/Lima
722 AR America/Argentina/Buenos_Aires
724 BR America/Sao_Paulo
730 CL America/Santiago
732 CO America/Bogota
734 VE America/Caracas
736 BO America/La_Paz
738 GY America/Guyana
740 EC America/Guayaquil
742 GF America/Cayenne
744 PY America/Asuncion
746 SR America/Paramaribo
748 UY America/Montevideo
750 FK Atlantic/Stanley
995 IO Indian/Chagos
"""


def _by_code() -> dict[str, tuple[str, str]]:
    found = {}
    for line in _COUNTRIES.split("\n")[1:-1]:
        *codes, country, zone = line.split()
        found.update(dict.fromkeys(codes, (country, zone)))
    return found


COUNTRIES: Final = _by_code()
"""Mobile country code -> letters of the country, name of its zone."""

SPREAD: Final = frozenset("AU BR CA CD CL CN EC ES FM GL ID KI MN MX NZ PF PG PT RU UA US".split())
"""Countries in which clocks show different times."""


def visited_zone(network: str) -> str:
    """Of the country of a serving network (MCC and MNC); "" where it is not known, or of no country."""
    if len(network) not in NETWORK_DIGITS or not (network.isascii() and network.isdecimal()):
        return ""
    _, zone = COUNTRIES.get(network[:MCC_DIGITS], ("", ""))
    return zone


def zone_name(written: str, inputs: Inputs) -> str:
    """Of the zone whose clock counts. That of the account where the country is not known, UTC where that is neither."""
    if written not in CLOCKS:
        return written
    return (visited_zone(inputs.visited) if written == VISITED_ZONE else "") or inputs.time_zone or "UTC"
